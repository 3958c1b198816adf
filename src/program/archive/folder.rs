//! The folder of the archives.
//!
//! Archives hold raw turns with user ids, and whoever may write the table `archives` chooses names in it. So: the
//! folder belongs to the user that archives, nobody else may write to it, and it is no link; files are his alone
//! (0600); each is made new under a name that is one plain component, and none is reached through a link. All of it
//! goes by the opened folder, so that another folder that takes its place meanwhile is not written to.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

/// Who else may write.
const OTHERS_WRITE: u32 = 0o022;

/// An opened folder that is ours alone.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    opened: File,
}

impl Folder {
    /// Opens the folder, making it if need be, and tries whether it can be written.
    pub fn open(path: &Path) -> Result<Self> {
        let words = || format!("folder {} cannot be written", path.display());
        // Without a slash at its end, which would follow a link.
        let bare: PathBuf = path.components().collect();
        match DirBuilder::new().recursive(false).mode(0o700).create(&bare) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&bare)
                    .with_context(words)?;
            }
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(words);
            }
            _ => {}
        }
        let opened = match openat(
            CWD,
            &bare,
            OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        ) {
            Err(Errno::NOTDIR | Errno::LOOP) => bail!(
                "folder {} is a link, or no folder; name the folder itself with --folder",
                path.display()
            ),
            opened => File::from(opened.with_context(words)?),
        };
        let metadata = opened.metadata().with_context(words)?;
        let me = rustix::process::geteuid().as_raw();
        if metadata.uid() != me {
            bail!(
                "folder {} belongs to the user with id {}, and this one is {me}: \
                 archives hold user ids, so name a folder of your own with --folder",
                path.display(),
                metadata.uid()
            );
        }
        if metadata.mode() & OTHERS_WRITE != 0 {
            bail!(
                "folder {} can be written by others (mode {:o}): archives hold user ids, \
                 so run chmod 700 {0}, or name another --folder",
                path.display(),
                metadata.mode() & 0o7777
            );
        }
        let folder = Self {
            path: bare.canonicalize().with_context(words)?,
            opened,
        };
        let probe = ".agent-metrics";
        folder.create(probe).with_context(words)?;
        folder.remove(probe).with_context(words)?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new file that its owner alone may read, in place of one that lies there.
    pub fn create(&self, name: &str) -> Result<File> {
        let words = || format!("{} cannot be written", self.path.join(name).display());
        check_component(name)?;
        self.remove(name).with_context(words)?;
        let file = openat(
            &self.opened,
            name,
            OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        );
        Ok(File::from(file.with_context(words)?))
    }

    /// A file that lies there.
    pub fn file(&self, name: &str) -> Result<File> {
        check_component(name)?;
        regular(&self.opened, Path::new(name), &self.path.join(name))
    }

    /// Whether something of that name lies there, a link that leads nowhere too.
    pub fn has(&self, name: &str) -> Result<bool> {
        check_component(name)?;
        match statat(&self.opened, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error)
                .with_context(|| format!("{} cannot be read", self.path.join(name).display())),
        }
    }

    /// Gives a file another name, and has the disk keep it.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        let words = || format!("{} cannot be written", self.path.join(to).display());
        check_component(from)?;
        check_component(to)?;
        renameat(&self.opened, from, &self.opened, to).with_context(words)?;
        self.opened.sync_all().with_context(words)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.opened, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A file at a path, which is no link.
pub fn open_file(path: &Path) -> Result<File> {
    regular(CWD, path, path)
}

fn regular(at: impl rustix::fd::AsFd, name: &Path, shown: &Path) -> Result<File> {
    let words = || format!("{} cannot be read", shown.display());
    // Not waiting for whoever would write to a pipe.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::RDONLY | OFlags::CLOEXEC;
    let file = match openat(at, name, flags, Mode::empty()) {
        Err(Errno::LOOP) => bail!("{} is a link; name the file itself", shown.display()),
        file => File::from(file.with_context(words)?),
    };
    if !file.metadata().with_context(words)?.is_file() {
        bail!("{} is no file", shown.display());
    }
    Ok(file)
}

/// Fails unless this is the name of an archive: one plain component. The database says it, and whoever
/// may write its tables.
pub fn check_name(name: &str) -> Result<()> {
    check_component(name)?;
    if name.starts_with('.') || !name.ends_with(".parquet") || name.chars().any(char::is_control) {
        bail!(
            "\"{name}\" in agent_metrics_internal.archives is no name of an archive; put the right one there"
        );
    }
    Ok(())
}

fn check_component(name: &str) -> Result<()> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(only)), None) if only == name && !name.contains('\0') => Ok(()),
        _ => bail!("\"{name}\" is no name of a file in the folder of the archives"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_the_folder() {
        for name in [
            "agent_events_y2026m01.parquet",
            "agent_events_y2026m01.2.parquet",
        ] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "/",
            "/etc/passwd.parquet",
            "../x.parquet",
            "a/b.parquet",
            "a/.parquet",
            "x.parquet/",
            ".x.parquet",
            "x",
            "x.parquet.part",
            "a\nb.parquet",
            "a\0.parquet",
            "./x.parquet",
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
