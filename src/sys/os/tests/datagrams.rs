//! Datagram sockets.

use super::*;

#[test]
fn datagram_options_are_set() {
    let options = DatagramOptions {
        broadcast: true,
        receive_buffer: Some(30_000),
        ttl: Some(3),
        only_v6: Some(true),
        ..DatagramOptions::default()
    };
    let socket = os().bind_datagram(&any(), &options).unwrap();
    let fd = socket.fd().unwrap();
    let socket = SockRef::from(&fd);
    assert!(socket.broadcast().unwrap());
    assert!(!socket.reuse_address().unwrap());
    assert!(socket.recv_buffer_size().unwrap() >= 30_000);
    assert_eq!(socket.ttl_v4().unwrap(), 3);
}

#[test]
fn a_batch_brings_what_there_is_and_tells_when_that_is_all() {
    let mut os = os();
    let options = DatagramOptions::default();
    let mut ours = os.bind_datagram(&any(), &options).unwrap();
    let mut theirs = os.bind_datagram(&any(), &options).unwrap();
    let (to, from) = (ours.local_addr().unwrap(), theirs.local_addr().unwrap());
    let mut queue = SendQueue::new(1 << 20);
    let sent: [&[u8]; 6] = [b"1", b"22", b"", b"333", b"4444", b"55555"];
    assert!(sent.iter().all(|payload| queue.push(&to, &None, payload)));
    while !queue.is_empty() {
        os.send_queued(&mut theirs, &mut queue).unwrap();
    }
    let mut batch = ReceiveBatch::new(4, 4);
    let mut came = Vec::new();
    loop {
        batch.clear();
        match os.receive_batch(&mut ours, 4, &mut batch) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
        for (arrived, bytes) in batch.datagrams() {
            assert_eq!(arrived.from, from);
            assert_eq!(arrived.to, None, "there is but one it can have been sent to");
            assert_eq!(arrived.truncated, came.len() == 5);
            came.push(bytes.to_vec());
        }
    }
    assert_eq!(came, [&b"1"[..], b"22", b"", b"333", b"4444", b"5555"]);
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn what_the_system_lost_is_counted_with_the_next_datagram() {
    let mut os = os();
    let options = DatagramOptions { receive_buffer: Some(4096), ..DatagramOptions::default() };
    let mut ours = os.bind_datagram(&any(), &options).unwrap();
    let client = UdpSocket::bind(ANY).unwrap();
    client.connect(ours.local_addr().unwrap().inet().unwrap()).unwrap();
    let sent = 100;
    for _ in 0..sent {
        client.send(&[0; 1000]).unwrap();
    }
    let mut batch = ReceiveBatch::new(64, 2048);
    let has_more = os.receive_batch(&mut ours, 64, &mut batch).unwrap();
    let came = batch.datagrams().count() as u64;
    assert!(!has_more && came < sent);
    client.send(b"x").unwrap();
    batch.clear();
    os.receive_batch(&mut ours, 64, &mut batch).unwrap();
    assert_eq!(batch.overflowed(), sent - came);
    client.send(b"x").unwrap();
    batch.clear();
    os.receive_batch(&mut ours, 64, &mut batch).unwrap();
    assert_eq!(batch.overflowed(), 0, "counted once");
}
