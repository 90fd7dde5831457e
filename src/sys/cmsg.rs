//! Linux: what the system tells beside a datagram, and is told (cmsg(3)).
//!
//! Each unsafe block meets these obligations:
//!
//! 1. *Headers point at what lives*: at controls of the length that they say, within which the
//!    macros of cmsg(3) stay.
//! 2. *Memory is ours*: what is written to is exclusively borrowed.
//! 3. *Any bytes will do*: what is read was written before, by us or by the system, and its type
//!    has no invalid values; and it is read within the length that came with it.
#![allow(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libc::c_int;

/// Room for every control message that was asked for: of 12, 20, 4 and 4 bytes, each behind a
/// header and padded to the next word.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control([u8; 128]);

impl Control {
    pub(super) const EMPTY: Control = Control([0; 128]);

    /// The first bytes.
    pub(super) fn bytes(&self, count: usize) -> &[u8] {
        &self.0[..count]
    }
}

/// What control messages say about a datagram.
#[derive(Default)]
pub(super) struct Told {
    /// Where it was sent to.
    pub(super) to: Option<IpAddr>,
    /// Where it is several that were joined: the length of each.
    pub(super) joined_bytes: Option<u32>,
    /// The socket's count of lost ones.
    pub(super) lost: Option<u32>,
}

/// Reads the control messages of a datagram.
///
/// # Safety
/// The header points at so many bytes of control messages as it says, written by the system.
pub(super) unsafe fn read(header: &libc::msghdr) -> Told {
    let mut told = Told::default();
    // SAFETY: the header points at what lives (1), as is promised. Data is read unaligned, and any
    // bytes will do (3), as each is checked to be of the kind that has that type.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(header);
        while let Some(control) = at.as_ref() {
            let data = libc::CMSG_DATA(control);
            match (control.cmsg_level, control.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    let to = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                    told.to = Some(to.into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    let to = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    told.to = (!to.to_canonical().is_multicast()).then_some(to.into());
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let bytes = data.cast::<c_int>().read_unaligned();
                    told.joined_bytes = Some(u32::try_from(bytes).unwrap_or(0).max(1));
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    told.lost = Some(data.cast::<u32>().read_unaligned());
                }
                _ => {}
            }
            at = libc::CMSG_NXTHDR(header, control);
        }
    }
    told
}

/// Writes where a datagram leaves from, and into what it is cut; answers their length.
pub(super) fn write(control: &mut Control, from: Option<IpAddr>, segment_bytes: usize) -> usize {
    let mut writer = ControlWriter { control, len: 0 };
    match from {
        // The route decides on the interface: another one may lead back.
        Some(IpAddr::V4(from)) => {
            let spec_dst = libc::in_addr { s_addr: u32::from_ne_bytes(from.octets()) };
            let any = libc::in_addr { s_addr: 0 };
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: spec_dst, ipi_addr: any };
            writer.push(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        Some(IpAddr::V6(from)) => {
            let address = libc::in6_addr { s6_addr: from.octets() };
            let info = libc::in6_pktinfo { ipi6_addr: address, ipi6_ifindex: 0 };
            writer.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
        None => {}
    }
    if segment_bytes > 0 {
        writer.push(libc::SOL_UDP, libc::UDP_SEGMENT, segment_bytes as u16);
    }
    writer.len
}

/// As [`write()`], into what a datagram is cut and nothing else.
#[inline]
pub(super) fn write_cut(control: &mut Control, segment_bytes: usize) -> usize {
    let mut writer = ControlWriter { control, len: 0 };
    writer.push(libc::SOL_UDP, libc::UDP_SEGMENT, segment_bytes as u16);
    writer.len
}

struct ControlWriter<'a> {
    control: &'a mut Control,
    len: usize,
}

impl ControlWriter<'_> {
    #[inline]
    fn push<T: Copy>(&mut self, level: c_int, kind: c_int, data: T) {
        let bytes = size_of::<T>() as libc::c_uint;
        // SAFETY: these two only calculate (1).
        let (space, len) = unsafe { (libc::CMSG_SPACE(bytes), libc::CMSG_LEN(bytes)) };
        assert!(self.len + space as usize <= size_of::<Control>());
        let at = self.control.0[self.len..].as_mut_ptr().cast::<libc::cmsghdr>();
        // SAFETY: memory is ours (2), as was just asserted; it is aligned, as `CMSG_SPACE` keeps
        // it, and any bytes will do (3).
        unsafe {
            (*at).cmsg_len = len as _;
            (*at).cmsg_level = level;
            (*at).cmsg_type = kind;
            libc::CMSG_DATA(at).cast::<T>().write_unaligned(data);
        }
        self.len += space as usize;
    }
}
