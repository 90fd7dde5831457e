//! What comes from other threads, and what is shared by several reactors: messages, broadcasts,
//! listeners that come and go, placement, and the limit on connections.

mod common;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier};
use std::thread;

use common::*;
use tidemill::protocols::Echo;
use tidemill::{
    Broadcast, CloseReason, ConnId, Context, Fault, Group, Limits, NetAddr, Placement, Receipt,
    Refused, Server, Service, ServiceContext, Slow, StreamHandler,
};

/// An echo that tells its name, sends its messages to its client, and joins a group.
#[derive(Clone)]
struct Member {
    told: Sender<Event>,
}

const GROUP: Group = Group(7);

impl StreamHandler<[u8; 8]> for Member {
    fn on_open(&mut self, cx: &mut Context<'_, [u8; 8]>) -> Result<(), Fault> {
        cx.join(GROUP);
        let _ = self.told.send(Event::Opened(cx.id(), cx.peer()));
        Ok(())
    }

    fn on_bytes(&mut self, cx: &mut Context<'_, [u8; 8]>, input: &[u8]) -> Result<usize, Fault> {
        cx.write(input);
        Ok(input.len())
    }

    fn on_message(&mut self, cx: &mut Context<'_, [u8; 8]>, message: [u8; 8]) -> Result<(), Fault> {
        cx.write(&message);
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Context<'_, [u8; 8]>, why: &CloseReason) {
        let _ = self.told.send(Event::Closed(cx.id(), why.to_string()));
    }
}

/// Members of a server, and what they tell.
struct Members {
    told_to: Sender<Event>,
    events: Receiver<Event>,
}

impl Members {
    fn new() -> Members {
        let (told_to, events) = mpsc::channel();
        Members { told_to, events }
    }

    fn service(&self) -> impl Fn(&NetAddr) -> Member + Clone + Send + 'static {
        let told_to = self.told_to.clone();
        move |_: &NetAddr| Member { told: told_to.clone() }
    }

    /// The name of the client that has connected just now.
    fn opened(&self, client: &TcpStream) -> ConnId {
        loop {
            match told(&self.events) {
                Event::Opened(id, peer) if peer.inet() == client.local_addr().ok() => return id,
                Event::Opened(..) => panic!("somebody else connects"),
                Event::Closed(..) => {} // of a former one
            }
        }
    }

    /// The next one that ends, and why.
    fn closed(&self) -> (ConnId, String) {
        match told(&self.events) {
            Event::Closed(id, why) => (id, why),
            opened => panic!("{opened:?}"),
        }
    }
}

#[test]
fn messages_arrive_once_each_and_in_the_order_of_their_sender() {
    const SENDERS: u32 = 8;
    const MESSAGES: u32 = 3000;
    let members = Members::new();
    // A small mailbox, so that it is full now and then.
    let limits = Limits { mailbox: 128, ..Limits::default() };
    let server = start(
        Server::builder_for::<[u8; 8]>().threads(2).limits(limits).listen(any(), members.service()),
    );
    let address = inet(&server, 0);
    let mut clients = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..4 {
        let client = connect(address);
        ids.push(members.opened(&client));
        clients.push(client);
    }
    assert_eq!(ids.iter().filter(|id| id.reactor() == 0).count(), 2, "on both reactors");

    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let load = thread::spawn(move || {
        let mut client = connect(address);
        while !over.load(Ordering::Acquire) {
            exchange(&mut client, &[1; 5000]);
        }
    });
    let together = Arc::new(Barrier::new(SENDERS as usize));
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (handle, ids) = (server.handle().clone(), ids.clone());
            let together = Arc::clone(&together);
            thread::spawn(move || {
                together.wait();
                for number in 0..MESSAGES {
                    let mut message = [0; 8];
                    message[..4].copy_from_slice(&sender.to_be_bytes());
                    message[4..].copy_from_slice(&number.to_be_bytes());
                    for id in &ids {
                        // What is refused comes back, to be sent again.
                        let mut sending = handle.send(*id, message);
                        while let Err(Refused::Full(back)) = sending {
                            assert_eq!(back, message);
                            thread::yield_now();
                            sending = handle.send(*id, back);
                        }
                        sending.unwrap();
                    }
                }
            })
        })
        .collect();
    for client in &mut clients {
        let mut next = [0; SENDERS as usize];
        for _ in 0..SENDERS * MESSAGES {
            let message = read(client, 8);
            let sender = u32::from_be_bytes(message[..4].try_into().unwrap());
            let number = u32::from_be_bytes(message[4..].try_into().unwrap());
            assert_eq!(number, next[sender as usize], "of sender {sender}");
            next[sender as usize] += 1;
        }
        assert_eq!(next, [MESSAGES; SENDERS as usize]);
    }
    is_over.store(true, Ordering::Release);
    load.join().unwrap();
    for sender in senders {
        sender.join().unwrap();
    }
    for client in &mut clients {
        exchange(client, b"and nothing more");
    }
}

#[test]
fn a_message_to_one_that_has_gone_reaches_nobody_else() {
    let members = Members::new();
    let server = start(Server::builder_for::<[u8; 8]>().listen(any(), members.service()));
    let gone = connect(inet(&server, 0));
    let gone_id = members.opened(&gone);
    drop(gone);
    assert_eq!(members.closed().0, gone_id);
    let mut next = connect(inet(&server, 0)); // in the very same place, most likely
    let next_id = members.opened(&next);
    assert_ne!(gone_id, next_id);
    server.handle().send(gone_id, *b"too late").unwrap();
    server.handle().send(next_id, *b"in time.").unwrap();
    assert_eq!(read(&mut next, 8), b"in time.");
    exchange(&mut next, b"and nothing else");
}

#[test]
fn connections_are_closed_and_aborted_from_elsewhere() {
    let members = Members::new();
    let server =
        start(Server::builder_for::<[u8; 8]>().threads(2).listen(any(), members.service()));
    for round in 0..4 {
        let mut client = connect(inet(&server, 0));
        let id = members.opened(&client);
        assert_eq!(id.reactor(), round % 2);
        server.handle().send(id, *b"farewell").unwrap();
        if round < 2 {
            server.handle().close(id).unwrap();
            assert_eq!(read_to_end(&mut client), b"farewell");
            drop(client);
        } else {
            exchange(&mut client, b"");
            server.handle().abort(id).unwrap();
            read_to_any_end(&mut client);
        }
        let expected = if round < 2 { "closed" } else { "aborted" };
        assert_eq!(members.closed(), (id, expected.to_owned()));
    }
}

#[test]
fn a_broadcast_reaches_every_member_on_every_reactor_once() {
    let members = Members::new();
    let server =
        start(Server::builder_for::<[u8; 8]>().threads(2).listen(any(), members.service()));
    let mut clients = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..20 {
        let client = connect(inet(&server, 0));
        ids.push(members.opened(&client));
        clients.push(client);
    }
    let send = |broadcast| server.handle().broadcast(broadcast).unwrap().wait(PATIENCE).unwrap();
    for round in 0..50 {
        let bytes = format!("round {round}").into_bytes();
        let receipt = send(Broadcast::new(GROUP, bytes.clone()));
        assert_eq!(receipt, Receipt { sent: 20, ..Receipt::default() });
        for client in &mut clients {
            assert_eq!(read(client, bytes.len()), bytes);
        }
    }
    let nobody = send(Broadcast::new(Group(8), *b"nobody"));
    assert_eq!(nobody, Receipt::default());
    let others = send(Broadcast::new(GROUP, *b"others").except(ids[3]));
    assert_eq!(others, Receipt { sent: 19, ..Receipt::default() });
    for (index, client) in clients.iter_mut().enumerate() {
        if index == 3 {
            exchange(client, b"left out");
        } else {
            assert_eq!(read(client, 6), b"others");
        }
    }
}

#[test]
fn a_member_that_does_not_read_is_skipped_or_closed() {
    let members = Members::new();
    let limits =
        Limits { outbox_low_bytes: 16 * 1024, outbox_high_bytes: 64 * 1024, ..Limits::default() };
    let server =
        start(Server::builder_for::<[u8; 8]>().limits(limits).listen(any(), members.service()));
    let slow = connect(inet(&server, 0));
    let slow_id = members.opened(&slow);
    let mut reading = connect(inet(&server, 0));
    members.opened(&reading);
    let bytes: Arc<[u8]> = vec![7; 64 * 1024].into();
    let send = |slow| {
        let broadcast = Broadcast::new(GROUP, Arc::clone(&bytes)).slow(slow);
        server.handle().broadcast(broadcast).unwrap().wait(PATIENCE).unwrap()
    };
    // The system's buffers fill first, and then the outbox.
    let skipped = loop {
        let receipt = send(Slow::Skip);
        assert!(read(&mut reading, bytes.len()) == *bytes);
        if receipt.skipped > 0 {
            break receipt;
        }
    };
    assert_eq!(skipped, Receipt { sent: 1, skipped: 1, closed: 0 });
    let closed = send(Slow::Close);
    assert_eq!(closed, Receipt { sent: 1, skipped: 0, closed: 1 });
    assert!(read(&mut reading, bytes.len()) == *bytes);
    assert_eq!(members.closed(), (slow_id, CloseReason::OutputLimit.to_string()));
    assert_eq!(send(Slow::Close), Receipt { sent: 1, ..Receipt::default() });
    drop(slow);
}

#[test]
fn a_message_to_a_listener_reaches_its_service() {
    struct Counting(u32);
    impl Service<(u32, Sender<u32>)> for Counting {
        fn accept(&mut self, _: &NetAddr) -> Option<Box<dyn StreamHandler<(u32, Sender<u32>)>>> {
            None
        }
        fn on_message(
            &mut self,
            cx: &mut ServiceContext<'_, (u32, Sender<u32>)>,
            (more, answer): (u32, Sender<u32>),
        ) {
            self.0 += more;
            assert_eq!(cx.connection_count(), 0);
            let _ = answer.send(self.0);
        }
    }
    impl Clone for Counting {
        fn clone(&self) -> Counting {
            Counting(self.0)
        }
    }
    let server = start(Server::builder_for().threads(2).listen(any(), Counting(0)));
    let endpoint = server.bound()[0].endpoint;
    let (answer, answers) = mpsc::channel();
    for (reactor, more, sum) in [(0, 5, 5), (1, 3, 3), (0, 2, 7)] {
        server.handle().notify(reactor, endpoint, (more, answer.clone())).unwrap();
        assert_eq!(told(&answers), sum, "each reactor has its own");
    }
    // Whom the service refuses is let go.
    assert!(read_to_any_end(&mut connect(inet(&server, 0))).is_empty());
}

#[test]
fn listeners_come_and_go_while_others_are_served() {
    let members = Members::new();
    let server = start(Server::builder_for::<[u8; 8]>().listen(any(), members.service()));
    let mut first = connect(inet(&server, 0));
    let first_id = members.opened(&first);
    for _ in 0..10 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let endpoint = server.handle().adopt_listener(0, listener, members.service()).unwrap();
        let mut added = connect(address);
        members.opened(&added);
        exchange(&mut added, b"added");
        server.handle().remove(endpoint).unwrap();
        server.handle().send(first_id, *b"once it ").unwrap(); // behind it in the mailbox
        assert_eq!(read(&mut first, 8), b"once it ");
        assert!(is_refused(address), "it has gone");
        exchange(&mut added, b"those it accepted stay");
        exchange(&mut first, b"and so do the others");
    }
    server.handle().remove(server.bound()[0].endpoint).unwrap();
    server.handle().send(first_id, *b"the last").unwrap();
    assert_eq!(read(&mut first, 8), b"the last");
    assert!(is_refused(inet(&server, 0)));
    exchange(&mut first, b"served to the end");
}

/// So many clients that have been answered.
fn served(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = connect(address);
        exchange(&mut client, b"hello");
        clients.push(client);
    }
    clients
}

#[test]
fn in_turn_every_reactor_gets_as_many() {
    let server = start(Server::builder().threads(3).listen(any(), |_: &NetAddr| Echo));
    let handle = server.handle();
    let clients = served(inet(&server, 0), 30);
    let loads: Vec<usize> = (0..handle.reactor_count()).map(|it| handle.load(it)).collect();
    assert_eq!(loads, [10, 10, 10]);
    assert_eq!(handle.connection_count(), 30);
    drop(clients);
    until("loads go down", || handle.load(0) + handle.load(1) + handle.load(2) == 0);
}

#[test]
fn the_least_loaded_reactor_gets_the_next() {
    let members = Members::new();
    let server = start(
        Server::builder_for::<[u8; 8]>()
            .threads(2)
            .placement(Placement::LeastLoaded)
            .listen(any(), members.service()),
    );
    let handle = server.handle();
    let mut on: [Vec<TcpStream>; 2] = Default::default();
    for _ in 0..8 {
        let client = connect(inet(&server, 0));
        on[members.opened(&client).reactor()].push(client);
    }
    assert_eq!((on[0].len(), on[1].len()), (4, 4));
    on[1].clear();
    until("its load goes down", || handle.load(1) == 0);
    for _ in 0..4 {
        let client = connect(inet(&server, 0));
        assert_eq!(members.opened(&client).reactor(), 1);
        on[1].push(client);
    }
    assert_eq!((handle.load(0), handle.load(1)), (4, 4));
}

#[test]
fn with_a_shared_port_every_reactor_accepts() {
    let server = start(
        Server::builder()
            .threads(2)
            .placement(Placement::ReusePort)
            .listen(any(), |_: &NetAddr| Echo),
    );
    let _clients = served(inet(&server, 0), 100);
    let loads = [server.handle().load(0), server.handle().load(1)];
    assert_eq!(loads[0] + loads[1], 100);
    // The system spreads them by a hash: that all hundred fall on one side does not happen.
    assert!(loads[0] > 0 && loads[1] > 0, "{loads:?}");
}

#[test]
fn a_path_is_served_in_turn_where_ports_are_shared() {
    let dir = TempDir::new();
    let address: tidemill::Address = dir.unix("socket").parse().unwrap();
    let server = start(
        Server::builder()
            .threads(2)
            .placement(Placement::ReusePort)
            .listen(address, |_: &NetAddr| Echo),
    );
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = std::os::unix::net::UnixStream::connect(dir.path("socket")).unwrap();
        client.set_patience();
        exchange(&mut client, b"hello");
        clients.push(client);
    }
    assert_eq!([server.handle().load(0), server.handle().load(1)], [5, 5]);
}

/// At the limit the next client waits, and is served as soon as one leaves.
fn limit_holds(threads: usize, placement: Placement) {
    let limits = Limits { connections: 4, ..Limits::default() };
    let server = start(
        Server::builder()
            .threads(threads)
            .placement(placement)
            .limits(limits)
            .listen(any(), |_: &NetAddr| Echo),
    );
    let address = inet(&server, 0);
    let mut inside = served(address, 4);
    for round in 0..20 {
        let mut waiting = connect(address);
        std::io::Write::write_all(&mut waiting, b"when it is my turn").unwrap();
        for client in &mut inside {
            exchange(client, b"while one waits");
            exchange(client, b"outside");
        }
        assert!(is_silent(&mut waiting), "one too many is served");
        assert_eq!(server.handle().connection_count(), 4);
        drop(inside.remove(round % 4));
        assert_eq!(read(&mut waiting, 18), b"when it is my turn");
        inside.push(waiting);
    }
}

#[test]
fn at_the_limit_the_next_client_waits_until_one_leaves() {
    limit_holds(1, Placement::RoundRobin);
}

#[test]
fn the_limit_is_one_for_all_reactors() {
    limit_holds(2, Placement::RoundRobin);
    limit_holds(2, Placement::LeastLoaded);
}

#[test]
fn limits_that_contradict_each_other_are_an_error_before_anything_is_bound() {
    let limits = Limits { mailbox: 0, ..Limits::default() };
    let error = Server::builder().limits(limits).bind().err().unwrap();
    assert_eq!(error.to_string(), "limit mailbox is zero");
}
