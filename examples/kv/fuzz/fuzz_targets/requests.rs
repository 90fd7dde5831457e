#![no_main]

tidemill::fuzz_decoder!(kv::Requests::default());
