//! Whether an image runs on a node's platform.

use skep_proto::swarmkit::{Node, Platform};

/// Whether the node is one of the platforms. An empty list fits every node; an empty field fits every value; a node that
/// did not report its platform fits none.
pub fn platform_matches(platforms: &[Platform], node: &Node) -> bool {
    if platforms.is_empty() {
        return true;
    }
    let Some(own) = node.description.as_ref().and_then(|d| d.platform.as_ref()) else {
        return false;
    };
    platforms.iter().any(|wanted| {
        (wanted.os.is_empty() || wanted.os == own.os)
            && (wanted.architecture.is_empty()
                || architecture(&wanted.architecture) == architecture(&own.architecture))
    })
}

/// The kernel's and the image formats' names of one architecture are one.
fn architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::NodeDescription;

    use super::*;

    fn platform(os: &str, architecture: &str) -> Platform {
        Platform { os: os.into(), architecture: architecture.into() }
    }

    #[test]
    fn an_image_runs_where_one_of_its_platforms_is() {
        let any: &[Platform] = &[];
        for (wanted, own, expected) in [
            (any, None, true),
            (&[platform("linux", "amd64")][..], None, false),
            (&[platform("linux", "amd64")], Some(platform("linux", "x86_64")), true),
            (&[platform("linux", "x86_64")], Some(platform("linux", "amd64")), true),
            (&[platform("linux", "aarch64")], Some(platform("linux", "arm64")), true),
            (&[platform("linux", "arm")], Some(platform("linux", "arm64")), false),
            (&[platform("windows", "amd64")], Some(platform("linux", "x86_64")), false),
            (&[platform("", "amd64")], Some(platform("linux", "x86_64")), true),
            (&[platform("linux", "")], Some(platform("linux", "s390x")), true),
            (
                &[platform("windows", "amd64"), platform("linux", "s390x")],
                Some(platform("linux", "s390x")),
                true,
            ),
        ] {
            let node = Node {
                description: Some(NodeDescription { platform: own.clone(), ..Default::default() }),
                ..Default::default()
            };
            assert_eq!(platform_matches(wanted, &node), expected, "{wanted:?} on {own:?}");
        }
    }
}
