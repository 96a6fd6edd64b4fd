//! What an answer says about the limits it counted against.

/// One limit of the header `Ratelimit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Calls left in the window.
    pub remaining: u32,
    /// Seconds until the window begins anew.
    pub reset_secs: u32,
}

/// Reads a header such as `"default";r=50;t=30, "burst";r=0;t=2`, as Cloudflare sends it since
/// 2025-09 (<https://developers.cloudflare.com/fundamentals/api/reference/limits/>, after
/// draft-ietf-httpapi-ratelimit-headers). What cannot be read is passed over.
#[must_use]
pub fn read_rate_limits(header: &str) -> Vec<RateLimit> {
    header
        .split(',')
        .filter_map(|item| {
            let parameter = |name: &str| -> Option<u32> {
                item.split(';')
                    .skip(1)
                    .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))?
                    .parse()
                    .ok()
            };
            Some(RateLimit {
                remaining: parameter("r")?,
                reset_secs: parameter("t")?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_nonsense_is_passed_over() {
        let limit = |remaining, reset_secs| RateLimit {
            remaining,
            reset_secs,
        };
        assert_eq!(
            read_rate_limits(r#""default";r=50;t=30, "burst"; r=0; t=2"#),
            [limit(50, 30), limit(0, 2)]
        );
        for nonsense in ["", "r=1;t=2", r#""x";r=-1;t=2"#, r#""x";r=1"#, ";;;,,,"] {
            assert_eq!(read_rate_limits(nonsense), [], "{nonsense}");
        }
    }
}
