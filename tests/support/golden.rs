//! Files that are written by a test when that is asked for (AGENT_METRICS_WRITE=1), and held against it otherwise.

use std::path::{Path, PathBuf};

/// A file of the project.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Compares with a file, or writes it when that is asked for.
pub fn held_against(file: &str, now: &str) {
    let path = path(file);
    if std::env::var_os("AGENT_METRICS_WRITE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, now).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
    let (kept, now) = (lines(&kept), lines(now));
    let gone: Vec<&String> = kept.iter().filter(|line| !now.contains(line)).collect();
    let come: Vec<&String> = now.iter().filter(|line| !kept.contains(line)).collect();
    assert!(
        kept == now,
        "{file} says otherwise; if that is meant, this test writes it with AGENT_METRICS_WRITE=1 \
         (make privileges)\nonly there: {gone:#?}\nonly here: {come:#?}"
    );
}
