use http::HeaderMap;

use super::propfind::parse;
use crate::error::SiloError;
use crate::folders::What;

/// As Apache writes it, and with what others add to it.
const ANSWER: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<D:multistatus xmlns:D="DAV:" xmlns:ns0="DAV:">
<D:response xmlns:lp1="DAV:"><D:href>/x/a%20b/</D:href><D:propstat><D:prop><lp1:resourcetype><D:collection/></lp1:resourcetype>
<lp1:getlastmodified>Fri, 02 Jan 2026 03:04:05 GMT</lp1:getlastmodified></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>
</D:response>
<D:response><D:href>/x/a%20b/%c3%bc</D:href><D:propstat><D:prop><lp1:resourcetype/>
<lp1:getcontentlength>7</lp1:getcontentlength><lp1:getlastmodified>Fri, 02 Jan 2026 03:04:05 GMT</lp1:getlastmodified>
<lp1:getetag>W/"7-1"</lp1:getetag><D:getcontenttype>text/x</D:getcontenttype></D:prop><D:status>HTTP/1.1 200 OK</D:status>
</D:propstat><D:propstat><D:prop><D:displayname/></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat></D:response>
<D:response><D:href>http://host/x/a%20b/sub</D:href><D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype></D:prop>
<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>
<D:response><D:href>/x/a%20b/%E9</D:href><D:propstat><D:prop><D:resourcetype/></D:prop><D:status>HTTP/1.1 200 OK</D:status>
</D:propstat></D:response>
<D:response><D:href>/x/a%20b/odd</D:href><D:propstat><D:prop><D:resourcetype/></D:prop><D:status>HTTP/1.1 200 OK</D:status>
</D:propstat></D:response>
<D:response><D:href>/elsewhere</D:href><D:propstat><D:prop><D:resourcetype/></D:prop><D:status>HTTP/1.1 200 OK</D:status>
</D:propstat></D:response>
</D:multistatus>"#;

#[test]
fn a_folder_is_read_with_odd_names_and_all() {
    let headers = HeaderMap::from_iter([(http::header::DATE, "Fri, 02 Jan 2026 03:04:06 GMT".parse().unwrap())]);
    let found = parse(ANSWER.as_bytes(), &headers, "http://host/x/a%20b/", "a b/").unwrap();
    assert!(found.is_folder && found.itself.is_none());
    let told = found.entries.iter().map(|entry| match &entry.what {
        What::Folder => format!("{}/", entry.name),
        What::File(held) => format!("{} {} {} {}", entry.name, held.size, held.validator.0, held.unsettled),
        What::Refused(reason) => format!("{}: {reason}", entry.name),
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            "ü 7 7-1|Fri, 02 Jan 2026 03:04:05 GMT true",
            "sub/",
            "\u{fffd}: a name that is not UTF-8",
            "odd: no `getcontentlength`",
        ]
    );
    let What::File(held) = &found.entries[0].what else { panic!("a file") };
    assert_eq!((&*held.name, held.etag.as_deref()), ("a b/ü".as_bytes(), Some("7-1")));
}

/// What is missing from half an answer, or from one about something else, would count as deleted.
#[test]
fn what_is_no_listing_lists_nothing() {
    for text in ["", "<html/>", "<D:multistatus xmlns:D=\"DAV:\"></D:multistatus>", &ANSWER[..ANSWER.len() - 20]] {
        let found = parse(text.as_bytes(), &HeaderMap::new(), "http://host/x/", "");
        assert!(matches!(found, Err(SiloError::NotDone { .. })), "{text}");
    }
    let other = parse(ANSWER.as_bytes(), &HeaderMap::new(), "http://host/y/", "");
    assert!(matches!(other, Err(SiloError::NotDone { .. })));
}
