//! message-io 0.19, by its lower half: `network::split` and `process_poll_event`, in one thread.
//! The upper half (`node`) does the same in a thread of its own and takes a lock for each event.
//!
//! `Transport::Tcp` gives the bytes as they come, without frames. The library reads until the
//! kernel says that there is no more, and sends by waiting actively until all is taken; neither
//! can be set. Nor can its backlog of 1024.

use message_io::network::{self, NetEvent, Transport};

fn main() {
    let (controller, mut processor) = network::split();
    let (_, address) = controller.listen(Transport::Tcp, peers::any()).expect("a free port");
    peers::say("tcp", address);
    loop {
        processor.process_poll_event(None, |event| {
            if let NetEvent::Message(endpoint, bytes) = event {
                controller.send(endpoint, bytes);
            }
        });
    }
}
