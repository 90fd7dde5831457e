//! What is adopted: pipes, terminals, sockets that are there already.

use super::*;

#[test]
fn read_end_of_a_pipe_is_a_stream() {
    let mut os = os();
    let (reader, mut writer) = pipe();
    let mut ours = os.adopt_stream(reader.into()).unwrap();
    os.register_stream(&mut ours, SEVEN).unwrap();
    assert_eq!(os.connected(&mut ours).unwrap(), NetAddr::Unnamed);
    assert_eq!(read_error(&mut os, &mut ours), io::ErrorKind::WouldBlock);
    writer.write_all(b"through").unwrap();
    wait_for(&mut os, SEVEN, &[Readiness::READABLE]);
    let mut buffer = [0; 64];
    assert_eq!(os.read(&mut ours, &mut buffer).unwrap(), 7);
    let error = os.write(&mut ours, &[IoSlice::new(b"x")]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    os.finish(&mut ours).unwrap();
    drop(writer);
    wait_for(&mut os, SEVEN, &[Readiness::READ_CLOSED]);
    assert_eq!(os.read(&mut ours, &mut buffer).unwrap(), 0);
    os.close(ours);
}

#[test]
fn write_end_of_a_pipe_is_a_stream_and_finishing_closes_it() {
    let mut os = os();
    let (mut reader, writer) = pipe();
    let mut ours = os.adopt_stream(writer.into()).unwrap();
    os.register_stream(&mut ours, SEVEN).unwrap();
    wait_for(&mut os, SEVEN, &[Readiness::WRITABLE]);
    assert_eq!(read_error(&mut os, &mut ours), io::ErrorKind::WouldBlock);
    assert_eq!(os.write(&mut ours, &[IoSlice::new(b"a"), IoSlice::new(b"b")]).unwrap(), 2);
    os.finish(&mut ours).unwrap();
    let mut all = String::new();
    reader.read_to_string(&mut all).unwrap();
    assert_eq!(all, "ab");
    assert_eq!(os.read(&mut ours, &mut [0; 1]).unwrap(), 0);
    assert!(ours.fd().is_none());
    os.finish(&mut ours).unwrap();
    os.close(ours);
}

#[test]
fn reader_that_leaves_a_pipe_is_told() {
    let mut os = os();
    let (reader, writer) = pipe();
    let mut ours = os.adopt_stream(writer.into()).unwrap();
    os.register_stream(&mut ours, SEVEN).unwrap();
    drop(reader);
    wait_for(&mut os, SEVEN, &[Readiness::WRITE_CLOSED]);
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_watched_is_not_adopted() {
    let mut os = os();
    let exe = File::open(std::env::current_exe().unwrap()).unwrap();
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
    for file in [exe, null] {
        let error = os.adopt_stream(file.into()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("cannot be watched"), "{error}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn terminals_are_adopted() {
    let mut os = os();
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/ptmx").unwrap();
    let mut ours = os.adopt_stream(terminal.into()).unwrap();
    os.register_stream(&mut ours, SEVEN).unwrap();
    wait_for(&mut os, SEVEN, &[Readiness::WRITABLE]);
    os.close(ours);
}

#[test]
fn adopted_sockets_become_what_they_are() {
    let mut os = os();
    let listener = TcpListener::bind(ANY).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let client = os.adopt_stream(client.into()).unwrap();
    assert!(client.is_tcp());
    assert!(SockRef::from(&client.fd().unwrap()).nonblocking().unwrap());
    let mut listener = os.adopt_listener(listener.into()).unwrap();
    let server = os.accept(&mut listener, &mut NetAddr::Unnamed).unwrap();
    assert!(server.is_tcp());
    let (unix, _peer) = UnixStream::pair().unwrap();
    assert!(!os.adopt_stream(unix.into()).unwrap().is_tcp());
    os.adopt_datagram(UdpSocket::bind(ANY).unwrap().into()).unwrap();
    os.adopt_datagram(UnixDatagram::unbound().unwrap().into()).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn sockets_are_not_adopted_for_what_they_are_not() {
    let dir = TempDir::new();
    let listener = || OwnedFd::from(TcpListener::bind(ANY).unwrap());
    let datagram = || OwnedFd::from(UnixDatagram::unbound().unwrap());
    let stream = || OwnedFd::from(UnixStream::pair().unwrap().0);
    let file = || OwnedFd::from(File::create(dir.path("file")).unwrap());
    let mut os = os();
    for fd in [listener(), datagram()] {
        assert_eq!(os.adopt_stream(fd).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
    for fd in [stream(), datagram(), file()] {
        assert_eq!(os.adopt_listener(fd).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
    for fd in [stream(), listener(), file()] {
        assert_eq!(os.adopt_datagram(fd).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
    // An adopted Unix listener's path belongs to whoever bound it.
    let path = dir.path("theirs");
    let listener = os.adopt_listener(UnixListener::bind(&path).unwrap().into()).unwrap();
    os.close_listener(listener);
    assert!(path.exists());
}

#[test]
fn closed_stream_is_silent_although_a_duplicate_lives() {
    let mut os = os();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let duplicate = ours.try_clone().unwrap();
    let mut ours = os.adopt_stream(ours.into()).unwrap();
    os.register_stream(&mut ours, SEVEN).unwrap();
    os.close(ours);
    theirs.write_all(b"anybody?").unwrap();
    assert_eq!(edges_within(&mut os, Some(Duration::ZERO)), []);
    drop(duplicate);
}
