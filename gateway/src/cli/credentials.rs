//! The data folder's key file: what `serve` writes and every other command signs with.
//!
//! It has the form of AWS's credentials file, with the profile `holdall`, so that
//! `AWS_SHARED_CREDENTIALS_FILE=holdall-data/credentials aws --profile holdall s3 ls` works as it is.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::client::Keys;

/// The name of AWS's profile for Holdall.
pub const PROFILE: &str = "holdall";

/// What the file holds.
#[derive(Debug, Clone)]
pub struct KeyFile {
    /// The first key.
    pub keys: Keys,
    /// The gateway's region.
    pub region: String,
    /// Where S3 was last spoken.
    pub endpoint: String,
}

impl KeyFile {
    /// Its place in a data folder.
    pub fn path(data: &Path) -> PathBuf {
        data.join("credentials")
    }

    /// Reads a data folder's file; none when there is no file.
    pub fn read(data: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(Self::path(data)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        parse(&text).map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is not a key file"))
    }

    /// Writes it, readable by its owner alone, whole or not at all.
    pub fn write(&self, data: &Path) -> io::Result<()> {
        let (path, fresh) = (Self::path(data), data.join("credentials.new"));
        drop(fs::remove_file(&fresh));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        fs::File::open(data)?.sync_all()
    }

    fn text(&self) -> String {
        format!(
            "[{PROFILE}]\naws_access_key_id = {}\naws_secret_access_key = {}\nregion = {}\nendpoint_url = {}\n",
            self.keys.id,
            self.keys.secret.expose_secret(),
            self.region,
            self.endpoint
        )
    }
}

fn parse(text: &str) -> Option<KeyFile> {
    let value = |name: &str| {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        lines.map(|(key, value)| (key.trim(), value.trim())).find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let secret = SecretString::from(value("aws_secret_access_key")?.to_owned());
    Some(KeyFile {
        keys: Keys { id: value("aws_access_key_id")?.to_owned(), secret },
        region: value("region")?.to_owned(),
        endpoint: value("endpoint_url").unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_file_reads_back_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        assert!(KeyFile::read(folder.path()).unwrap().is_none());
        let keys = Keys { id: "HAKEY".to_owned(), secret: SecretString::from("s3cr3t/+=".to_owned()) };
        let file = KeyFile { keys, region: "us-east-1".to_owned(), endpoint: "http://127.0.0.1:9000".to_owned() };
        file.write(folder.path()).unwrap();
        file.write(folder.path()).unwrap();
        let back = KeyFile::read(folder.path()).unwrap().unwrap();
        assert_eq!((back.keys.id.as_str(), back.keys.secret.expose_secret()), ("HAKEY", "s3cr3t/+="));
        assert_eq!((back.region, back.endpoint), (file.region, file.endpoint));
        let mode = fs::metadata(KeyFile::path(folder.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{:?}", back.keys).contains("s3cr3t"));
    }

    #[test]
    fn another_file_is_an_error_not_a_missing_key() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(KeyFile::path(folder.path()), "hello").unwrap();
        assert!(KeyFile::read(folder.path()).is_err());
    }
}
