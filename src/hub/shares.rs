//! How many datagrams of each peer were shown in a turn, where that has a limit.

use std::collections::HashMap;

use crate::base::address::NetAddr;
use crate::base::prefix::Prefix;

/// What peers have had of a turn. It has an entry for each peer of that turn, so it is no larger
/// than a turn has datagrams.
#[derive(Default)]
pub(crate) struct Shares {
    taken: HashMap<Prefix, usize>,
}

impl Shares {
    /// Another turn begins: nobody has had anything.
    pub(crate) fn begin(&mut self) {
        if self.taken.capacity() > KEPT {
            self.taken = HashMap::new();
        }
        self.taken.clear();
    }

    /// Gives a peer what it wants, but no more than `max` in a turn; answers how much it is given.
    /// What has no address that counts gets all.
    pub(crate) fn take(&mut self, peer: &NetAddr, wanted: usize, max: usize) -> usize {
        let Some(inet) = peer.inet() else { return wanted };
        let taken = self.taken.entry(Prefix::of_client(inet.ip())).or_insert(0);
        let given = wanted.min(max - *taken);
        *taken += given;
        given
    }
}

/// Room for so many peers stays: two turns' worth of the default limits.
const KEPT: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> NetAddr {
        NetAddr::Inet(text.parse().unwrap())
    }

    #[test]
    fn each_peer_has_its_own_share_of_each_turn() {
        let mut shares = Shares::default();
        for _ in 0..2 {
            shares.begin();
            let mut take = |text: &str, wanted| shares.take(&peer(text), wanted, 3);
            assert_eq!(take("10.0.0.1:1", 2), 2);
            assert_eq!(take("10.0.0.2:1", 1), 1);
            assert_eq!(take("[::ffff:10.0.0.1]:2", 2), 1, "it is the same address");
            assert_eq!(take("10.0.0.1:3", 1), 0);
            assert_eq!(take("10.0.0.2:1", 9), 2);
            assert_eq!(take("[2001:db8::1]:1", 3), 3);
            assert_eq!(take("[2001:db8::2]:1", 1), 0, "the same network");
            assert_eq!(take("[2001:db8:0:1::2]:1", 1), 1);
        }
        assert_eq!(shares.take(&NetAddr::Unnamed, 9, 3), 9);
        assert_eq!(shares.take(&NetAddr::Unnamed, 9, 3), 9);
    }

    #[test]
    fn a_turn_of_many_peers_leaves_no_memory_behind() {
        let mut shares = Shares::default();
        for index in 0..10_000_u32 {
            let peer = NetAddr::Inet((index.to_be_bytes(), 1).into());
            assert_eq!(shares.take(&peer, 2, 1), 1);
        }
        assert_eq!(shares.taken.len(), 10_000);
        shares.begin();
        assert!(shares.taken.capacity() <= KEPT);
    }
}
