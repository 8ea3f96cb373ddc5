//! What a server says is in a folder, or under all of a site: pages as nginx, Apache, Caddy, rclone and Python make them, and
//! lists of names.

use percent_encoding::percent_decode_str;
use quick_xml::escape::unescape;
use serde::Deserialize;
use url::Url;

use crate::error::SiloError;
use crate::folders::{Entry, What};

/// What the titles of pages that list a folder begin with.
const TITLES: [&str; 2] = ["index of", "directory listing"];

/// An entry of nginx's `autoindex_format json`, or of Caddy's.
#[derive(Deserialize)]
struct Json {
    name: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    is_dir: bool,
}

/// The entries of a folder's page; of a file nothing is known but its name.
pub(crate) fn entries<F: Default>(page: &str, folder: &Url) -> Result<Vec<Entry<F>>, SiloError> {
    if page.trim_start().starts_with('[') {
        return of_json(page);
    }
    let lower = page.to_ascii_lowercase();
    if !between(&lower, "<title>", "</title>").is_some_and(|title| is_title(title.trim(), folder)) {
        return Err(SiloError::not_done(format!("`{folder}` answers with a page that lists no folder")));
    }
    // The mark of a page that came whole.
    if !lower.trim_end().ends_with("</html>") {
        return Err(SiloError::not_done(format!("the page of `{folder}` breaks off")));
    }
    Ok(links(page, &lower).filter_map(|link| entry(&link, folder)).collect())
}

/// The names of a list: one a line, or a JSON array of strings. In the order of bytes, each once.
pub(crate) fn names(text: &str) -> Result<Vec<String>, SiloError> {
    let text = text.trim_start_matches('\u{feff}');
    let mut names: Vec<String> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).map_err(|error| SiloError::not_done(format!("the list of names: {error}")))?
    } else {
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn of_json<F: Default>(page: &str) -> Result<Vec<Entry<F>>, SiloError> {
    let odd = |error| SiloError::not_done(format!("an answer that is no listing: {error}"));
    let found: Vec<Json> = serde_json::from_str(page).map_err(odd)?;
    let entry = |Json { name, kind, is_dir }: Json| {
        let what = match kind.as_str() {
            "directory" => What::Folder,
            "" if is_dir => What::Folder,
            "file" | "" => What::File(F::default()),
            other => What::Refused(format!("no plain file: {other}")),
        };
        Entry { name: name.trim_end_matches('/').to_owned(), what }
    };
    Ok(found.into_iter().map(entry).collect())
}

/// Whether a page, whose title this is in small letters, lists a folder. Caddy and rclone put the path there.
fn is_title(title: &str, folder: &Url) -> bool {
    let path = percent_decode_str(folder.path()).decode_utf8_lossy().to_ascii_lowercase();
    let says_path =
        |title: &str| title.starts_with('/') && path.trim_end_matches('/').ends_with(title.trim_end_matches('/'));
    TITLES.iter().any(|begins| title.starts_with(begins)) || unescape(title).is_ok_and(|title| says_path(&title))
}

/// The text between two marks, in small letters.
fn between<'a>(lower: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = lower.split_once(begin)?;
    rest.split_once(end).map(|(text, _)| text)
}

/// The targets of a page's links. `lower` is the page in small letters, of the same length.
fn links<'a>(page: &'a str, lower: &'a str) -> impl Iterator<Item = String> + 'a {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            at += lower[at..].find("<a")? + 2;
            let tag = &lower[at..at + lower[at..].find('>')?];
            let Some(begins) = tag.starts_with(|c: char| c.is_ascii_whitespace()).then(|| target(tag)).flatten() else {
                continue;
            };
            let quote = tag.as_bytes()[begins];
            let text = &page[at + begins + 1..];
            let link = &text[..text.find(char::from(quote))?];
            return Some(unescape(link).map_or_else(|_| link.to_owned(), std::borrow::Cow::into_owned));
        }
    })
}

/// Where the quote stands that the value of `href` begins with.
fn target(tag: &str) -> Option<usize> {
    let at = tag.find("href=")? + "href=".len();
    tag.as_bytes().get(at).filter(|byte| matches!(byte, b'"' | b'\'')).map(|_| at)
}

fn entry<F: Default>(link: &str, folder: &Url) -> Option<Entry<F>> {
    let (name, is_folder) = below(link, folder)?;
    let what = if is_folder { What::Folder } else { What::File(F::default()) };
    Some(match name {
        Ok(name) => Entry { name, what },
        Err(name) => Entry { name, what: What::Refused("a name that is not UTF-8".to_owned()) },
    })
}

/// What a link leads to, if that lies in the folder, and whether it is a folder: links that sort the page, or lead up or away, do
/// not. The name is an error where it is not UTF-8.
pub(crate) fn below(link: &str, folder: &Url) -> Option<(Result<String, String>, bool)> {
    let url = folder.join(link).ok()?;
    if url.origin() != folder.origin() || url.query().is_some() || url.fragment().is_some() {
        return None;
    }
    // Servers encode more or less of a path, in small letters or large.
    let decoded = |segment: &'_ str| percent_decode_str(segment).collect::<Vec<u8>>();
    let mut segments = url.path().split('/');
    let above: Vec<_> = folder.path().trim_end_matches('/').split('/').collect();
    if !above.iter().all(|above| segments.next().is_some_and(|segment| decoded(segment) == decoded(above))) {
        return None;
    }
    let (segment, is_folder) = match (segments.next()?, segments.next(), segments.next()) {
        (segment, None, _) => (segment, false),
        (segment, Some(""), None) => (segment, true),
        _ => return None,
    };
    if segment.is_empty() {
        return None;
    }
    let name = percent_decode_str(segment);
    let name = match name.clone().decode_utf8() {
        Ok(name) => Ok(name.into_owned()),
        Err(_) => Err(name.decode_utf8_lossy().into_owned()),
    };
    Some((name, is_folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(page: &str) -> Result<String, SiloError> {
        let folder = Url::parse("http://host/data/a%20b/").unwrap();
        let names = entries::<()>(page, &folder)?.into_iter().map(|entry| match entry.what {
            What::Folder => format!("{}/", entry.name),
            What::File(()) => entry.name,
            What::Refused(_) => format!("{}!", entry.name),
        });
        Ok(names.collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn pages_of_the_usual_servers() {
        let nginx = "<html>\r\n<head><title>Index of /data/a b/</title></head>\r\n<body>\r\n<h1>Index of</h1><hr><pre>\
            <a href=\"../\">../</a>\r\n<a href=\"sub/\">sub/</a>  29-Nov-2026 08:04   -\r\n\
            <a href=\"a%25%262.txt\">a%&amp;2.txt</a>  29-Nov-2026 08:04   7\r\n<a href=\"%E9\">?</a>\r\n</pre></body>\r\n</html>\r\n";
        assert_eq!(seen(nginx).unwrap(), "sub/, a%&2.txt, \u{fffd}!");
        let apache = "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 3.2 Final//EN\">\n<html>\n <head>\n  <title>Index of /data/a b</title>\n\
            </head><body><table><tr><th><a href=\"?C=N;O=D\">Name</a></th></tr><tr><td><a href=\"/data/\">Parent Directory</a>\
            </td></tr><tr><td><a href=\"b&amp;c;d\">b&amp;c;d</a></td></tr><tr><td><A class=x HREF='e/'>e/</A></td></tr></table>\n\
            <address>Apache</address></body></html>\n";
        assert_eq!(seen(apache).unwrap(), "b&c;d, e/");
        let python =
            "<!DOCTYPE HTML>\n<html><head><title>Directory listing for /data/a b/</title></head>\n<ul></ul></html>\n";
        assert_eq!(seen(python).unwrap(), "");
        let rclone = "<html><head><title>/A b</title></head><body>\
            <a href=\"./a:b\">a:b</a><a href=\"./d/\">d/</a><a href=\"https://rclone.org/\">x</a></body></html>";
        assert_eq!(seen(rclone).unwrap(), "a:b, d/");
        let json = r#"[{"name":"x y","type":"file","mtime":"Sun, 29 Nov 2026 08:04:27 GMT","size":3},
            {"name":"d","type":"directory"},{"name":"p","type":"other"},{"name":"c/","size":4096,"url":"./c/","is_dir":true}]"#;
        assert_eq!(seen(json).unwrap(), "x y, d/, p!, c/");
        assert_eq!(seen("[]").unwrap(), "");
    }

    /// A folder with an `index.html` answers with that, and half a page with half of the names: what is missing from it
    /// would count as deleted.
    #[test]
    fn what_is_no_listing_lists_nothing() {
        for page in [
            "",
            "<html><head><title>Welcome</title></head><body><a href=\"x\">x</a></body></html>",
            "<html><head><title>/b</title></head><body><a href=\"x\">x</a></body></html>",
            "<html><head><title></title></head><body><a href=\"x\">x</a></body></html>",
            "<html><head><title>Index of /</title></head><body><a href=\"x\">x</a>",
            "[{\"name\":\"x\"",
            "{\"name\":\"x\"}",
        ] {
            assert!(matches!(seen(page), Err(SiloError::NotDone { .. })), "{page}");
        }
    }

    #[test]
    fn links_that_lead_out_are_none_of_the_folder() {
        let page = |links: &str| format!("<html><title>Index of x</title>{links}</html>");
        for link in [
            "..",
            "/",
            "/data/a%20b",
            "/data/a%20b/",
            ".",
            "x/y",
            "//other/data/a%20b/x",
            "x?y",
            "x#y",
            "mailto:x",
            "%2e%2e/z",
        ] {
            assert_eq!(seen(&page(&format!("<a href=\"{link}\">"))).unwrap(), "", "{link}");
        }
        assert_eq!(
            seen(&page("<a href=\"/data/a%20b/x\"><abbr href=\"q\"><a><a href=x><a href=\"y\">")).unwrap(),
            "x, y"
        );
        assert_eq!(seen(&page("<a href=\"İ\">")).unwrap(), "İ");
        assert_eq!(seen(&page("<a href=\"/d%61ta/a%20b/%c3%bc\">")).unwrap(), "ü");
    }

    #[test]
    fn lists_are_lines_or_an_array() {
        for text in ["b\na/1\r\n\nb\n", "[\"b\",\"a/1\"]", "\u{feff}a/1\nb"] {
            assert_eq!(names(text).unwrap(), ["a/1", "b"]);
        }
        assert!(names("").unwrap().is_empty());
        assert!(names("[1]").is_err());
    }
}
