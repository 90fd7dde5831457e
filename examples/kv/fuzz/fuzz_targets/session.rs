#![no_main]

tidemill::fuzz_handler!(kv::session(kv::Store::default()));
