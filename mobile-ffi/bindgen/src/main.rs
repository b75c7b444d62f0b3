//! Generates Kotlin, Swift and Python bindings for `farhelm-mobile`.

fn main() {
    uniffi::uniffi_bindgen_main();
}
