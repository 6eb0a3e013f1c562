//! References to images: `[host[:port]/]path[:tag][@digest]`, as registries and engines read them.

use super::{Checked, ensure, shown};

/// The longest name of a repository, host included.
const NAME_MAX: usize = 255;
/// The longest tag.
const TAG_MAX: usize = 128;
/// An algorithm's digest in hexadecimal has at least this many characters.
const DIGEST_HEX_MIN: usize = 32;

/// An image's reference, which must be there.
pub(super) fn image_reference(image: &str) -> Checked {
    ensure(!image.is_empty(), || "container: an image reference must be provided".into())?;
    ensure(is_reference(image), || {
        format!(
            "container: {} is not a valid image reference; write [host[:port]/]name[:tag][@digest], the name in \
             lower case",
            shown(image)
        )
    })
}

fn is_reference(image: &str) -> bool {
    let (rest, digest_ok) = match image.split_once('@') {
        Some((rest, digest)) => (rest, is_digest(digest)),
        None => (image, true),
    };
    // A colon after the last slash starts a tag; one before it belongs to the host's port.
    let path_start = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag_ok) = match rest[path_start..].find(':') {
        Some(colon) => (&rest[..path_start + colon], is_tag(&rest[path_start + colon + 1..])),
        None => (rest, true),
    };
    digest_ok && tag_ok && is_name(name)
}

fn is_name(name: &str) -> bool {
    let path = match name.split_once('/') {
        // The first part is a host when it cannot be a path: Docker's rule for familiar names.
        Some((first, path))
            if first.contains(['.', ':']) || first == "localhost" || has_upper(first) =>
        {
            if !is_host(first) {
                return false;
            }
            path
        }
        _ => name,
    };
    // A bare name of 64 hexadecimal digits would be taken for an image's id.
    let is_id = name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    name.len() <= NAME_MAX && !is_id && path.split('/').all(is_path_component)
}

fn has_upper(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_host(host: &str) -> bool {
    let (host, port) = if let Some(bracketed) = host.strip_prefix('[') {
        let Some((address, rest)) = bracketed.split_once(']') else { return false };
        let hex =
            !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
        return hex && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_number));
    } else {
        match host.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host, None),
        }
    };
    let component = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    host.split('.').all(component) && port.is_none_or(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Lower-case letters and digits, separated by one '.', one or two '_', or any number of '-'.
fn is_path_component(part: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.split(alphanumeric).all(|separator| {
            matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-')
        })
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= TAG_MAX
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else { return false };
    let lengths_ok = match algorithm {
        "sha256" => hex.len() == 64,
        "sha384" => hex.len() == 96,
        "sha512" => hex.len() == 128,
        _ => hex.len() >= DIGEST_HEX_MIN,
    };
    let part = |part: &str| {
        part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
            && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    lengths_ok
        && algorithm.split(['-', '_', '+', '.']).all(part)
        && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::super::says;
    use super::*;

    #[test]
    fn what_engines_pull_is_accepted() {
        let digest = format!("nginx@sha256:{}", "a1".repeat(32));
        for image in [
            "nginx",
            "nginx:1.25",
            "library/nginx",
            "docker.io/library/nginx:latest",
            "localhost:5000/a/b_c/d__e/f--g.h:V1_x.y-z",
            "registry.example.com/team/app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "localhost/x",
            "[2001:db8::1]:5000/x",
            "Host/x",
            "sha256:abcdef",
            &digest,
        ] {
            assert_eq!(says(image_reference(image)), "ok", "{image}");
        }
    }

    #[test]
    fn what_no_engine_pulls_is_refused() {
        for image in [
            "Nginx",
            "nginx:",
            "nginx:-x",
            "nginx@sha256:abc",
            "nginx@",
            "a//b",
            "/a",
            "a/",
            "a b",
            "a___b",
            "a..b",
            "-a",
            "http://a/b",
            "exa_mple.com/a",
            "[::1/x",
            "é",
            &"0".repeat(64),
            &"a".repeat(256),
            &format!("a:{}", "t".repeat(129)),
        ] {
            let text = says(image_reference(image));
            assert!(
                text.starts_with("container: \"")
                    && text.contains("is not a valid image reference"),
                "{image}"
            );
        }
        assert_eq!(says(image_reference("")), "container: an image reference must be provided");
    }
}
