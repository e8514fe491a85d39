//! What the sinks that speak HTTP have in common: one request with a time limit, and what its answer means.

use std::error::Error;
use std::io::Read;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use jiff::Timestamp;
use mlp_core::SinkError;
use serde::Serialize;
use ureq::config::Config;
use ureq::http::{Response, Uri};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body};

use super::Secret;
use crate::error::{MonitorError, Result};

/// How much of a refusal is kept.
const SNIPPET: u64 = 300;

/// Which machines a sink may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Destinations {
    /// Any: a receiver is often in the same network.
    #[default]
    Any,
    /// Only public addresses; for addresses that users of the application may enter. Names are resolved first, and what they resolve to counts.
    /// A proxy that the environment names is not used.
    PublicOnly,
}

/// How requests are made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpOptions {
    /// For the whole of a request, its name look-up and its answer. Default 10 s.
    pub timeout: Duration,
    /// Which machines may be called. Default any.
    pub destinations: Destinations,
    /// Sent as `Authorization: Bearer`, if set.
    pub bearer: Option<Secret>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        let timeout = Duration::from_secs(10);
        Self { timeout, destinations: Destinations::Any, bearer: None }
    }
}

impl HttpOptions {
    /// Sets how long a request may take.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Refuses to call machines in private networks and this machine.
    #[must_use]
    pub fn public_only(mut self) -> Self {
        self.destinations = Destinations::PublicOnly;
        self
    }

    /// Sends a token in the header `Authorization`.
    #[must_use]
    pub fn with_bearer(mut self, token: impl Into<Secret>) -> Self {
        self.bearer = Some(token.into());
        self
    }
}

/// An address to which JSON is posted. It is a secret: those of Slack contain the key.
#[derive(Debug)]
pub(crate) struct Endpoint {
    url: Secret,
    agent: Agent,
    bearer: Option<Secret>,
}

impl Endpoint {
    /// Checks the address: `http` or `https`, with a host and without a password.
    pub(crate) fn new(url: &str, options: &HttpOptions) -> Result<Self> {
        let fault = |given: &str| {
            let allowed = "an http or https address with a host and without user or password";
            Err(MonitorError::setting("url of a sink", given, allowed))
        };
        let Ok(uri) = url.parse::<Uri>() else { return fault("no address") };
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return fault(uri.scheme_str().unwrap_or("without a scheme"));
        }
        match uri.authority() {
            Some(authority) if authority.as_str().contains('@') => {
                return fault("one with a user or a password");
            }
            Some(authority) if !authority.host().is_empty() => {}
            _ => return fault("without a host"),
        }
        if options.timeout.is_zero() {
            return Err(MonitorError::setting("timeout of a sink", "0 s", "above 0"));
        }
        if let Some(token) = &options.bearer {
            let visible = |c: char| c.is_ascii_graphic();
            if token.reveal().is_empty() || !token.reveal().chars().all(visible) {
                let allowed = "visible characters of ASCII";
                return Err(MonitorError::setting("bearer token of a sink", "***", allowed));
            }
        }
        let config = Agent::config_builder();
        // A proxy would look names up itself, and call whom it likes.
        let config = match options.destinations {
            Destinations::Any => config,
            Destinations::PublicOnly => config.proxy(None),
        };
        let config = config
            .timeout_global(Some(options.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(16 * 1024)
            .user_agent(concat!("mlp-monitor/", env!("CARGO_PKG_VERSION")))
            .build();
        let guard = Guard { inner: DefaultResolver::default(), destinations: options.destinations };
        let agent = Agent::with_parts(config, DefaultConnector::default(), guard);
        Ok(Self { url: Secret::new(url), agent, bearer: options.bearer.clone() })
    }

    /// Posts a body, and says what the answer means: taken, later, or never.
    pub(crate) fn post(&self, body: &impl Serialize) -> std::result::Result<(), SinkError> {
        let body = serde_json::to_vec(body)
            .map_err(|error| SinkError::Refused { reason: error.to_string() })?;
        let request = self.agent.post(self.url.reveal()).header("Content-Type", "application/json");
        let request = match &self.bearer {
            Some(token) => request.header("Authorization", format!("Bearer {}", token.reveal())),
            None => request,
        };
        match request.send(&body[..]) {
            Ok(answer) => meaning(answer),
            Err(ureq::Error::Other(error)) if error.is::<PrivateAddress>() => {
                Err(SinkError::Refused { reason: error.to_string() })
            }
            Err(error) => Err(SinkError::Retry { after: None, source: self.redact(&error).into() }),
        }
    }

    /// The text of an error without the address.
    fn redact(&self, error: &ureq::Error) -> String {
        error.to_string().replace(self.url.reveal(), "***")
    }
}

fn meaning(mut answer: Response<Body>) -> std::result::Result<(), SinkError> {
    let status = answer.status().as_u16();
    let later = |after| {
        Err(SinkError::Retry { after, source: format!("the receiver answered {status}").into() })
    };
    match status {
        200..=299 => Ok(()),
        408 | 425 | 429 | 500..=599 => {
            let header = answer.headers().get("retry-after");
            later(header.and_then(|value| retry_after(value.to_str().ok()?, Timestamp::now())))
        }
        300..=399 => Err(SinkError::Refused {
            reason: format!("the receiver answered {status}: redirects are not followed"),
        }),
        _ => {
            let mut text = Vec::new();
            // What cannot be read in full is as good as what can: it only explains.
            answer.body_mut().as_reader().take(SNIPPET).read_to_end(&mut text).ok();
            let text = String::from_utf8_lossy(&text).trim().replace(char::is_control, " ");
            Err(SinkError::Refused { reason: format!("the receiver answered {status}: {text}") })
        }
    }
}

/// The header `Retry-After`: seconds, or a date.
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

/// Resolves names as usual, and keeps to the destinations that are allowed.
#[derive(Debug)]
struct Guard {
    inner: DefaultResolver,
    destinations: Destinations,
}

#[derive(Debug, thiserror::Error)]
#[error("the address is in a private network, which this sink may not call")]
struct PrivateAddress;

impl Resolver for Guard {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> std::result::Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        let private = found.iter().any(|address| !is_public(address.ip()));
        if self.destinations == Destinations::PublicOnly && private {
            let error: Box<dyn Error + Send + Sync> = Box::new(PrivateAddress);
            return Err(ureq::Error::Other(error));
        }
        Ok(found)
    }
}

/// Whether an address belongs to no private, local, shared or reserved network (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let reserved =
                a == 0 || a >= 240 || a == 192 && b == 0 || a == 198 && (18..20).contains(&b);
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || shared
                || reserved)
        }
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => is_public(v4.into()),
            // Only 2000::/3 is handed out for the public network.
            None => v6.segments()[0] & 0xe000 == 0x2000,
        },
    }
}

/// The IPv4 address in an IPv6 one: mapped, translated by NAT64, or 6to4.
fn embedded(address: Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    let [a, b, c, _, _, _, g, h] = address.segments();
    let v4 = |high: u16, low: u16| std::net::Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match (a, b) {
        (0x64, 0xff9b) => Some(v4(g, h)),
        (0x2002, _) => Some(v4(b, c)),
        _ => address.to_ipv4_mapped(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_files_scripts_and_passwords_are_refused() {
        for url in [
            "file:///etc/passwd",
            "gopher://example.com/",
            "ftp://example.com/",
            "javascript:alert(1)",
            "//example.com/",
            "example.com",
            "https://",
            "https://user:password@example.com/",
            "https://exa mple.com/",
            "",
        ] {
            assert!(Endpoint::new(url, &HttpOptions::default()).is_err(), "{url}");
        }
        assert!(Endpoint::new("https://example.com/hook?x=1", &HttpOptions::default()).is_ok());
        for token in ["gehe\nim", "gehe\r\nX-Evil: im", "geheé", " ", ""] {
            let options = HttpOptions::default().with_bearer(token);
            let error = Endpoint::new("https://example.com/", &options).unwrap_err().to_string();
            assert!(!error.contains("gehe"), "{error}");
        }
        let none = HttpOptions::default().with_timeout(Duration::ZERO);
        assert!(Endpoint::new("https://example.com/", &none).is_err());
    }

    #[test]
    fn private_networks_are_told_from_public_ones() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.0.1",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in
            ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "172.32.0.1"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        let date = "Sun, 01 Mar 2026 12:01:00 GMT";
        assert_eq!(retry_after(date, now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("Sun, 01 Mar 2026 11:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-1", now), None);
    }
}
