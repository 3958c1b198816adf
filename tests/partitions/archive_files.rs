//! The files of archives: their owner's alone, never through a link or outside the folder, and an error when damaged.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use agent_metrics::program::archive::file::Reader;

use crate::partitions::archive::{archive, file_of, name_of, two_old_months};
use crate::support::asserts::assert_verified;
use crate::support::program::{fails, works};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn archives_are_for_their_owner_alone() {
    let (db, [old, new], folder) = two_old_months("files_modes");
    archive(&db, &folder);
    assert_eq!(mode(&folder), 0o700);
    for month in [&old, &new] {
        assert_eq!(mode(&file_of(&folder, month)), 0o600);
    }
    assert_eq!(
        db.value(
            "SELECT count(*) FROM agent_metrics_internal.archives WHERE checksum ~ '^sha256:[0-9a-f]{64}$'"
        ),
        Some("2".to_owned())
    );
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    let (db, _, folder) = two_old_months("files_folder");
    fs::create_dir(&folder).unwrap();
    let at = ["archive", "--folder", folder.to_str().unwrap()];
    for others in [0o777, 0o720, 0o702] {
        fs::set_permissions(&folder, fs::Permissions::from_mode(others)).unwrap();
        let error = fails(db.url(), &at);
        assert!(
            error.contains("written by others") && error.contains("chmod 700"),
            "{error}"
        );
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    let link = folder.with_extension("link");
    let _ = fs::remove_file(&link);
    symlink(&folder, &link).unwrap();
    for path in [
        format!("{}", link.display()),
        format!("{}/", link.display()),
    ] {
        let error = fails(db.url(), &["archive", "--folder", &path]);
        assert!(error.contains("is a link"), "{error}");
    }
    let file = folder.join("file");
    fs::write(&file, "").unwrap();
    let error = fails(db.url(), &["archive", "--folder", file.to_str().unwrap()]);
    assert!(error.contains("no folder"), "{error}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    fs::remove_file(&link).unwrap();
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn links_in_the_folder_are_not_followed() {
    let (db, [old, _], folder) = two_old_months("files_links");
    fs::create_dir(&folder).unwrap();
    let outside = folder.with_extension("outside");
    fs::write(&outside, "precious").unwrap();
    let file = file_of(&folder, &old);
    symlink(&outside, folder.join(".agent-metrics")).unwrap();
    symlink(&outside, file.with_extension("parquet.part")).unwrap();
    archive(&db, &folder);
    assert!(fs::symlink_metadata(&file).unwrap().is_file());
    assert_eq!(fs::read_to_string(&outside).unwrap(), "precious");
    // nor when reading
    let moved = folder.join("moved");
    fs::rename(&file, &moved).unwrap();
    symlink(&moved, &file).unwrap();
    let error = fails(db.url(), &["restore", file.to_str().unwrap()]);
    assert!(error.contains("is a link"), "{error}");
    fs::rename(&moved, &file).unwrap();
    works(db.url(), &["restore", file.to_str().unwrap()]);
    assert_verified(&db);
    fs::remove_file(&outside).unwrap();
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_database_names_no_file_outside_the_folder() {
    let (db, [old, new], folder) = two_old_months("files_names");
    let name = name_of(&old);
    db.exec(&format!("DROP TABLE {new}"));
    let outside = folder.with_extension("parquet");
    fs::write(&outside, "precious").unwrap();
    for file in [
        format!("../{}", outside.file_name().unwrap().to_str().unwrap()),
        outside.display().to_string(),
        "..".to_owned(),
        "a/b.parquet".to_owned(),
        ".hidden.parquet".to_owned(),
        "authorized_keys".to_owned(),
    ] {
        db.exec(&format!(
            "DELETE FROM agent_metrics_internal.archives;
             INSERT INTO agent_metrics_internal.archives (partition, from_time, to_time, state, folder, file)
             SELECT p.partition, p.from_time, p.to_time, 'writing', '/', '{file}'
             FROM agent_metrics.archivable_partitions() p WHERE p.partition = '{name}'"
        ));
        let error = fails(db.url(), &["archive", "--folder", folder.to_str().unwrap()]);
        assert!(error.contains(&format!("\"{file}\"")), "{error}");
        assert_eq!(fs::read_to_string(&outside).unwrap(), "precious");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
    fs::remove_file(&outside).unwrap();
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn damaged_bytes_are_an_error_and_no_panic() {
    let (db, [old, _], folder) = two_old_months("files_damaged");
    archive(&db, &folder);
    let file = file_of(&folder, &old);
    let whole = fs::read(&file).unwrap();
    // by the program: another checksum, one line
    let mut bytes = whole.clone();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let error = fails(db.url(), &["restore", file.to_str().unwrap()]);
    assert!(error.contains("checksum"), "{error}");
    // by the reader alone, wherever the damage is: what it reads is right or it is an error
    let read = |bytes: &[u8]| {
        let path = folder.join("damaged");
        fs::write(&path, bytes).unwrap();
        Reader::new(fs::File::open(&path).unwrap(), &path).and_then(|reader| reader.tally(|_| ()))
    };
    let right = read(&whole).unwrap();
    assert!(right.turns > 0);
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % below as u64).unwrap()
    };
    let mut errors = 0;
    for round in 0..600 {
        let mut bytes = whole.clone();
        // every other one in the metadata, where lengths and counts are
        let from = if round % 2 == 0 {
            whole.len() * 3 / 4
        } else {
            0
        };
        let at = from + random(whole.len() - from);
        bytes[at] = u8::try_from(random(256)).unwrap();
        errors += usize::from(read(&bytes).is_err());
    }
    assert!(errors > 50, "{errors} of 600");
    for length in [0, 3, 8, 11, 12, whole.len() - 1] {
        assert!(read(&whole[..length]).is_err(), "{length}");
    }
    assert!(read(&[0xff; 4096]).is_err());
    fs::remove_dir_all(&folder).unwrap();
}
