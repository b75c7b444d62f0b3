//! Paired, used, removed, told so, and paired again at once, fifty times.

use std::fs;
use std::path::Path;

use crate::scene::Scene;
use crate::{LOOK, listed};

/// All that a state directory takes, in bytes.
fn size(path: &Path) -> u64 {
    let entries = fs::read_dir(path).expect("a state directory").map(|entry| entry.expect("an entry"));
    let sizes = entries.map(|entry| match entry.metadata().expect("it is there") {
        data if data.is_dir() => size(&entry.path()),
        data => data.len(),
    });
    sizes.sum()
}

#[test]
fn fifty_times_paired_and_removed_leave_no_stale_device_and_no_growing_files() {
    let scene = Scene::set();
    let _host = scene.host(&[]);
    scene.pair("keeps");
    let mut sizes = Vec::new();
    for cycle in 1..=50 {
        scene.pair("comes");
        assert_eq!(listed(&scene).len(), 2, "cycle {cycle}");
        scene.done("comes", &LOOK);
        scene.done("desk", &["devices", "revoke", "comes"]);
        let removed = scene.run("comes", &LOOK);
        assert_eq!(removed.code, 16, "cycle {cycle}: {:?}", removed.events);
        assert!(removed.error().contains("removed at the desk on"), "{}", removed.error());
        assert_eq!(listed(&scene).len(), 1, "cycle {cycle}");
        sizes.push([size(&scene.path("desk")), size(&scene.path("comes"))]);
    }
    let ([desk, phone], [desk_then, phone_then]) = (sizes[9], sizes[49]);
    println!("after 10 cycles {desk} and {phone} bytes, after 50 {desk_then} and {phone_then}");
    // The host remembers for a while which codes were used.
    assert!(desk_then <= desk * 2 && phone_then <= phone + 16_384, "{sizes:?}");
    scene.done("keeps", &LOOK);
}
