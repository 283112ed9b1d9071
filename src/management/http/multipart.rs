//! Forms with files in them, as browsers send them (RFC 7578): `multipart/form-data`.

/// The parts of a form, each with its name; `None` if the request's body is no such form.
pub fn parts<'a>(content_type: &str, body: &'a [u8]) -> Option<Vec<(String, &'a [u8])>> {
    let mut fields = content_type.split(';').map(str::trim);
    if !fields.next()?.eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = fields.find_map(|field| value_of(field, "boundary"))?;
    if boundary.len() > BOUNDARY_BYTES_MAX {
        return None;
    }
    let delimiter = [b"--", boundary.as_bytes()].concat();
    let mut parts = Vec::new();
    let mut rest = &body[find(body, &delimiter)? + delimiter.len()..];
    // A delimiter stands at the beginning of a line, and that line break belongs to it (RFC 2046 §5.1.1).
    let delimiter = [b"\r\n", delimiter.as_slice()].concat();
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let end = find(part, &delimiter)?;
        parts.extend(read(&part[..end]));
        rest = &part[end + delimiter.len()..];
    }
    Some(parts)
}

/// RFC 2046 §5.1.1. A long one that nearly fits everywhere would take long to find.
const BOUNDARY_BYTES_MAX: usize = 70;

/// Name and content of a part; one without a name is left out.
fn read(part: &[u8]) -> Option<(String, &[u8])> {
    let end = find(part, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&part[..end]).ok()?;
    let disposition = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition")
            .then_some(value)
    })?;
    let mut fields = disposition.split(';').map(str::trim);
    let name = fields.find_map(|field| value_of(field, "name"))?;
    Some((name.to_owned(), &part[end + 4..]))
}

/// `boundary=x`, `name="x"`
fn value_of<'a>(field: &'a str, wanted: &str) -> Option<&'a str> {
    let (name, value) = field.split_once('=')?;
    let value = value.trim_matches('"');
    (name.eq_ignore_ascii_case(wanted) && !value.is_empty()).then_some(value)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|it| it == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=\"--x\"";

    #[test]
    fn parts_are_found_by_their_names() {
        let body = b"preamble\r\n----x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a b\"\r\n\
            Content-Type: application/json\r\n\r\n{\"a\":\r\n1}\r\n----x\r\n\
            content-disposition: form-data; name=redirect\r\n\r\n\r\n----x--\r\n";
        let parts = parts(TYPE, body).unwrap();
        let expected: [(String, &[u8]); 2] = [
            ("file".to_owned(), b"{\"a\":\r\n1}"),
            ("redirect".to_owned(), b""),
        ];
        assert_eq!(parts, expected);
    }

    #[test]
    fn what_is_no_form_is_none_and_what_is_cut_off_harms_nobody() {
        assert_eq!(parts("application/json", b"{}"), None);
        assert_eq!(parts("multipart/form-data", b"--\r\n"), None);
        let body = b"----x\r\nContent-Disposition: form-data; name=f\r\n\r\n1\r\n----x--";
        assert_eq!(parts(TYPE, body).map(|it| it.len()), Some(1));
        for end in 0..body.len() {
            let _ = parts(TYPE, &body[..end]);
        }
    }
}
