//! A folder that a server has, and that somebody writes to without it.

use std::path::PathBuf;
use std::sync::Mutex;

use async_trait::async_trait;
use holdall_silos::contract::holdings::Others;

/// Who else writes to the folder.
pub(crate) struct Hand {
    pub(crate) folder: PathBuf,
    /// The list that names everything, where there is one.
    pub(crate) list: Option<PathBuf>,
    pub(crate) names: Mutex<Vec<String>>,
}

impl Hand {
    pub(crate) fn note(&self, change: impl FnOnce(&mut Vec<String>)) {
        let mut names = self.names.lock().unwrap();
        change(&mut names);
        if let Some(list) = &self.list {
            std::fs::write(list, names.join("\n")).unwrap();
        }
    }
}

#[async_trait]
impl Others for Hand {
    async fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        self.note(|names| {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        });
    }

    async fn delete(&self, name: &str) {
        std::fs::remove_file(self.folder.join(name)).unwrap();
        self.note(|names| names.retain(|known| known != name));
    }

    fn says_more(&self) -> bool {
        false
    }
}
