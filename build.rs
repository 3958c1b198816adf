//! Reads `sql/manifest` into a list of scripts, which the library bears and `setup()` runs.

use std::fmt::Write;
use std::path::Path;

fn main() -> std::io::Result<()> {
    println!("cargo:rerun-if-changed=sql");
    // Asked when it runs: a target folder that was copied has this program from where it was copied.
    let sql = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("sql");
    let manifest = std::fs::read_to_string(sql.join("manifest"))?;
    let mut scripts = String::from(
        "/// Of each its kind and path, as the manifest has them, and its text.\n\
         pub const SCRIPTS: &[(&str, &str)] = &[\n",
    );
    for line in manifest.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        if let (Some(kind), Some(path)) = (words.next(), words.next())
            && kind != "member"
        {
            let _ = writeln!(
                scripts,
                "    (\"{kind} {path}\", include_str!({:?})),",
                sql.join(path)
            );
        }
    }
    scripts.push_str("];\n");
    let out = std::env::var_os("OUT_DIR").unwrap_or_default();
    std::fs::write(Path::new(&out).join("scripts.rs"), scripts)
}
