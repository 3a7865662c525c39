#![no_main]
#[path = "../../tests/config/target.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|text: &str| {
    target::configuration(text);
});
