//! A new file: whole at its name, or not there at all, whenever the power goes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file in the making, beside the name that it is to have. Dropped before it has it, it is gone; what a crash leaves
/// has never been anybody's.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    name: PathBuf,
}

impl Staged {
    /// Chooses a place beside `name`; nothing is there yet.
    pub fn beside(name: &Path) -> io::Result<Self> {
        let number = getrandom::u64().map_err(io::Error::other)?;
        Ok(Self { path: name.with_extension(format!("{number:016x}")), name: name.to_owned() })
    }

    /// Where the file is made.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file, which is written and flushed, its name; see [`place`]. The name is durable after
    /// [`flush_name`].
    pub fn place(self) -> io::Result<()> {
        place(&self.path, &self.name)
    }

    /// The same, where the name is free; the file stays where it was made otherwise.
    pub fn place_alone(self) -> io::Result<()> {
        if self.name.exists() {
            let staged = std::mem::ManuallyDrop::new(self);
            let kept = format!("there is an index already, and what was made stays at {}", staged.path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, kept));
        }
        self.place()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes a file's name durable: flushes the folder it is in.
pub fn flush_name(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}

/// Gives a whole file its name unless the name is taken: whoever was first keeps it.
pub fn place(staged: &Path, name: &Path) -> io::Result<()> {
    match fs::hard_link(staged, name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // File systems without links.
        Err(_) if !name.exists() => fs::rename(staged, name),
        placed => placed,
    }
}
