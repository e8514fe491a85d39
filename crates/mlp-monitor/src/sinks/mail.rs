//! Mail.

use std::error::Error;
use std::time::Duration;

use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{Message, SmtpTransport, Transport};
use mlp_core::{AlertSink, Notification, SinkError};

use super::Secret;
use super::text::{cut, listed, own_labels, title, when};
use crate::alerts::Fingerprint;
use crate::error::{MonitorError, Result};

/// How the connection to the mail server is kept private.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MailEncryption {
    /// By TLS from the first byte (port 465).
    #[default]
    Tls,
    /// By STARTTLS, without which nothing is sent (port 587).
    StartTls,
    /// Not at all: for a relay on this machine.
    None,
}

/// The mail server, and whose mail it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MailOptions {
    /// Name of the server.
    pub host: String,
    /// Its port; by default the usual one of the encryption, and 25 without.
    pub port: Option<u16>,
    /// How the connection is kept private.
    pub encryption: MailEncryption,
    /// User and password, where the server asks for them.
    pub credentials: Option<(String, Secret)>,
    /// For each command of the conversation. Default 10 s.
    pub timeout: Duration,
}

impl MailOptions {
    /// A server that is spoken to by TLS.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port: None,
            encryption: MailEncryption::Tls,
            credentials: None,
            timeout: Duration::from_secs(10),
        }
    }

    /// Sets the port.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Sets how the connection is kept private.
    #[must_use]
    pub fn with_encryption(mut self, encryption: MailEncryption) -> Self {
        self.encryption = encryption;
        self
    }

    /// Sets user and password.
    #[must_use]
    pub fn with_credentials(
        mut self,
        user: impl Into<String>,
        password: impl Into<Secret>,
    ) -> Self {
        self.credentials = Some((user.into(), password.into()));
        self
    }

    /// Sets how long each command may take.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// Sends notifications as mail; those of one group form one thread.
pub struct MailSink {
    transport: SmtpTransport,
    host: String,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl std::fmt::Debug for MailSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, from, to, .. } = self;
        f.debug_struct("MailSink")
            .field("host", host)
            .field("from", from)
            .field("to", to)
            .finish_non_exhaustive()
    }
}

impl MailSink {
    /// A sink that mails from one address to others, written as `name@host` or `Name <name@host>`.
    ///
    /// # Errors
    /// If an address cannot be read, there is no receiver, or the name of the server is none.
    pub fn new<A: AsRef<str>>(
        options: MailOptions,
        from: &str,
        to: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        let mailbox = |text: &str| {
            text.parse::<Mailbox>().map_err(|_| {
                MonitorError::setting(
                    "mail address",
                    cut(text, 100),
                    "name@host or Name <name@host>",
                )
            })
        };
        let to =
            to.into_iter().map(|address| mailbox(address.as_ref())).collect::<Result<Vec<_>>>()?;
        if to.is_empty() {
            return Err(MonitorError::setting("receivers of mail", "none", "at least one"));
        }
        let host = options.host.as_str();
        let builder = match options.encryption {
            MailEncryption::Tls => SmtpTransport::relay(host),
            MailEncryption::StartTls => SmtpTransport::starttls_relay(host),
            MailEncryption::None => Ok(SmtpTransport::builder_dangerous(host)),
        };
        let allowed = "the name of a host";
        let builder = builder.map_err(|_| MonitorError::setting("mail server", host, allowed))?;
        let builder = builder.timeout(Some(options.timeout));
        let builder = match options.port {
            Some(port) => builder.port(port),
            None => builder,
        };
        let builder = match options.credentials {
            Some((user, password)) => {
                builder.credentials(Credentials::new(user, password.reveal().to_owned()))
            }
            None => builder,
        };
        Ok(Self { transport: builder.build(), host: options.host, from: mailbox(from)?, to })
    }

    fn message(&self, notification: &Notification) -> std::result::Result<Message, SinkError> {
        let addressed = |builder: MessageBuilder| {
            self.to.iter().fold(builder, |builder, to| builder.to(to.clone()))
        };
        // No message has this id: mail programs put all that refer to it into one thread.
        let key = [("thread".to_owned(), notification.dedupe_key.clone())].into();
        let thread = format!("<{}@mlp>", Fingerprint::of(&key));
        addressed(Message::builder().from(self.from.clone()))
            .subject(title(notification))
            .references(thread)
            .body(body(notification))
            .map_err(|error| SinkError::Refused { reason: error.to_string() })
    }
}

impl AlertSink for MailSink {
    fn deliver(&self, notification: &Notification) -> std::result::Result<(), SinkError> {
        match self.transport.send(&self.message(notification)?) {
            Ok(_) => Ok(()),
            Err(error) if error.is_permanent() => {
                let source = error.source().map(ToString::to_string).unwrap_or_default();
                Err(SinkError::Refused { reason: format!("{error} {source}") })
            }
            Err(error) => Err(SinkError::Retry { after: None, source: error.into() }),
        }
    }
}

fn body(notification: &Notification) -> String {
    let (alerts, more) = listed(notification);
    let mut text = format!("{}\n", title(notification));
    for alert in alerts {
        text.push_str(&format!(
            "\n{} {}\n  {}\n  {}\n  What to do: {}\n",
            alert.severity,
            own_labels(alert, notification),
            alert.summary,
            when(alert),
            alert.runbook_url
        ));
    }
    if more > 0 {
        text.push_str(&format!("\nand {more} more\n"));
    }
    text
}
