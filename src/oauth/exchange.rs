//! One exchange: from the token to the key, or to a refusal that tells nobody what would have fitted.

use std::rc::Rc;

use http::StatusCode;
use serde_json::json;

use super::TOKEN_PATH;
use super::refused::Refused;
use super::request::{ACCESS_TOKEN, Request};
use crate::audit::{Action, Event, What, Who, token_credential};
use crate::config::document::{Principal, PrincipalKind};
use crate::gateway::{After, BodyFault, Finished, Gateway, Inbound, Reply, Snapshot, World};
use crate::identity::{
    Claims, ClaimsError, CredentialError, Jws, Key, KeyRecord, KeySource, Login, behind, fits,
    max_lifetime_secs, prove, rule_digest, traces,
};
use crate::model::sanitised;
use crate::store::{Database, StoreError};

/// Most bytes of a body: twice the longest token, and room for the rest.
const BODY_CAP: usize = 32 * 1024;
/// How long a key lives, in seconds, where its principal does not say.
const DEFAULT_TTL_SECS: u32 = 900;
/// Most characters of a token's name.
const MAX_JTI_BYTES: usize = 256;
/// How many principals a reason on record is about at the most.
const REASONS: usize = 5;

impl<D: Database, W: World> Gateway<'_, D, W> {
    /// `POST /oauth/token`.
    ///
    /// 1. Anything but a POST of a well-formed request that carries no other credential is refused.
    /// 2. The token has the one form an issuer gives it and counts now, and its issuer is one that a
    ///    principal names: nothing is fetched for any other. What needs no key comes first, so that it
    ///    tells nobody which issuers those are.
    /// 3. It is signed by the one key of that name which the issuer publishes.
    /// 4. Exactly one principal has tokens with this audience and these claims; where there are several,
    ///    the caller must name one.
    /// 5. The token was never exchanged before. That, the key and the audit entry are stored in one
    ///    batch; if they cannot be, there is no key.
    ///
    /// Every exchange is on record, granted or not.
    pub async fn exchange_token(
        &self,
        inbound: &Inbound<'_>,
        origin: &str,
    ) -> Finished<W::Response> {
        let arrived = self.world.now();
        let refused = match self.grant_key(inbound, origin).await {
            Ok(reply) => {
                return Finished {
                    reply,
                    after: Vec::new(),
                };
            }
            Err(refused) => refused,
        };
        let body = json!({"error": refused.error, "error_description": refused.description});
        let credential = match &refused.behind {
            Some(behind) => token_credential(behind),
            None => "a token that proves nothing".to_owned(),
        };
        let now = self.world.now();
        let reason = refused.reason.unwrap_or(refused.description);
        if refused.status.is_server_error() {
            self.world.log(&format!("exchange a token: {reason}"));
        }
        let event = Event {
            decision: "deny",
            reason,
            status: refused.status.as_u16(),
            duration_ms: now.ms_since(arrived),
            ..Event::of(
                self.world.entry_id(now),
                who(None, credential, inbound),
                what(inbound, "exchange a token for a key".to_owned()),
            )
        };
        Finished {
            reply: Reply::json(refused.status, body.to_string()),
            after: vec![After::Event(Box::new(event))],
        }
    }

    async fn grant_key(
        &self,
        inbound: &Inbound<'_>,
        origin: &str,
    ) -> Result<Reply<W::Response>, Refused> {
        let request = self.exchange_request(inbound, origin).await?; // (1)
        let form = |error| Refused::claims(ClaimsError::Form(error));
        let jws = Jws::parse(&request.subject_token).map_err(form)?;
        let claims = Claims::parse(&jws.payload).map_err(Refused::claims)?;
        let lifetime = max_lifetime_secs(&claims);
        let counts = claims.check_times(self.world.now(), lifetime);
        counts.map_err(Refused::claims)?;
        let source = key_source(&*self.exchange_snapshot().await?, claims.issuer())
            .ok_or_else(|| Refused::token("no principal names the issuer of the token"))?; // (2)
        let now = self.world.now();
        let ring = self.view.issuer_keys();
        let claims = prove(self.world, ring, &source, &jws, claims, lifetime, now).await?; // (3)
        // The keys may have taken a while to come.
        let snapshot = self.exchange_snapshot().await?;
        let principal =
            the_one(&snapshot, &request, &claims).map_err(|refused| refused.by(&claims))?; // (4)
        self.issue(inbound, principal, &claims)
            .await
            .map_err(|refused| refused.by(&claims)) // (5)
    }

    async fn exchange_snapshot(&self) -> Result<Rc<Snapshot>, Refused> {
        let current = self.view.current(self.store, self.world.now());
        current.await.map_err(|error| Refused::store(&error))
    }

    async fn exchange_request(
        &self,
        inbound: &Inbound<'_>,
        origin: &str,
    ) -> Result<Request, Refused> {
        if inbound.method != "POST" {
            return Err(Refused {
                status: StatusCode::METHOD_NOT_ALLOWED,
                ..Refused::request("Tokens are exchanged by POST.")
            });
        }
        if inbound.credentials.credential() != Err(CredentialError::Missing) {
            return Err(Refused::request(
                "The subject_token is the only credential here; send no other.",
            ));
        }
        if let Some(header) = inbound
            .unsupported
            .or(inbound.idempotency_key.map(|_| "idempotency-key"))
        {
            return Err(Refused::request(format!(
                "The header {header} has no meaning here."
            )));
        }
        let too_large = || Refused {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            ..Refused::request(format!("The body is larger than {BODY_CAP} bytes."))
        };
        if inbound
            .content_length
            .is_some_and(|length| length > BODY_CAP as u64)
        {
            return Err(too_large());
        }
        let body = self.world.caller_body(BODY_CAP).await;
        let body = body.map_err(|fault| match fault {
            BodyFault::TooLarge => too_large(),
            BodyFault::TimedOut => Refused {
                status: StatusCode::REQUEST_TIMEOUT,
                ..Refused::request("The body did not arrive in time.")
            },
            BodyFault::Broken => {
                Refused::request("The body broke off or is not encoded as it says.")
            }
        })?;
        Request::read(inbound.content_type, &body, origin)
    }

    /// Step 5.
    async fn issue(
        &self,
        inbound: &Inbound<'_>,
        principal: &Principal,
        claims: &Claims,
    ) -> Result<Reply<W::Response>, Refused> {
        let name = &principal.name;
        let jti = claims
            .text("jti")
            .filter(|jti| (1..=MAX_JTI_BYTES).contains(&jti.len()))
            .ok_or_else(|| {
                Refused::token("the token has no jti of 1 to 256 bytes, so it could be used again")
            })?;
        let ttl_secs = principal.max_ttl_secs.unwrap_or(DEFAULT_TTL_SECS);
        let stands_for = behind(claims);
        for _ in 0..4 {
            let now = self.world.now();
            let mut random = [0_u8; 30];
            if !self.world.randomize(&mut random) {
                let message = "The runtime gave no random numbers, so no key was issued.";
                return Err(Refused::unavailable(message, message.to_owned()));
            }
            let key = Key::mint(&random);
            let record = KeyRecord {
                id: key.id(),
                principal: name.clone(),
                digest: key.digest(&self.settings.pepper),
                created_at: now,
                expires_at: Some(now.plus_ms(i64::from(ttl_secs) * 1_000)),
                revoked_at: None,
                last_used_at: None,
                note: None,
                legacy: false,
                login: Some(Login {
                    rule: rule_digest(principal),
                    behind: stands_for.clone(),
                }),
            };
            let action = format!(
                "exchange a token for key {}, valid for {ttl_secs} s",
                key.id()
            );
            let event = Event {
                reason: format!("the token has the issuer, audience and claims of {name}"),
                ..Event::of(
                    self.world.entry_id(now),
                    who(Some(name), token_credential(&stands_for), inbound),
                    What {
                        resources: traces(claims),
                        ..what(inbound, action)
                    },
                )
            };
            match self.store.add_login(&record, claims, jti, &event).await {
                Ok(()) => return Ok(issued(&key, ttl_secs)),
                Err(StoreError::Conflict) => {
                    let spent = self.store.is_spent(claims.issuer(), jti).await;
                    if spent.map_err(|error| Refused::store(&error))? {
                        return Err(Refused::token("the token was exchanged before"));
                    }
                    // The number of the key or of the entry was taken: take others.
                }
                Err(error) => return Err(Refused::store(&error)),
            }
        }
        Err(Refused::store(&StoreError::Conflict))
    }
}

/// RFC 8693 §2.2.1. Answers of ours are never kept by anybody (`Cache-Control: no-store`).
fn issued<R>(key: &Key, ttl_secs: u32) -> Reply<R> {
    let body = json!({
        "access_token": key.expose(),
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": ttl_secs,
    });
    Reply::json(StatusCode::OK, body.to_string())
}

fn who(principal: Option<&String>, credential: String, inbound: &Inbound<'_>) -> Who {
    Who {
        principal: principal.cloned(),
        credential,
        source_ip: inbound.recorded_ip(),
        run: None,
    }
}

fn what(inbound: &Inbound<'_>, action: String) -> What {
    What {
        operation: "zonekeeper-token-exchange".to_owned(),
        method: sanitised(inbound.method, 20),
        path: TOKEN_PATH.to_owned(),
        zone: None,
        resources: Vec::new(),
        action: Action::new(action),
        deprecated: false,
    }
}

fn of_issuer<'s>(snapshot: &'s Snapshot, issuer: &'s str) -> impl Iterator<Item = &'s Principal> {
    snapshot
        .config
        .document
        .principals
        .iter()
        .filter(move |principal| {
            principal.kind == PrincipalKind::Oidc && principal.issuer.as_deref() == Some(issuer)
        })
}

/// Where the keys of `issuer` are; `None` when no principal names it.
fn key_source(snapshot: &Snapshot, issuer: &str) -> Option<KeySource> {
    of_issuer(snapshot, issuer)
        .next()
        .map(|principal| KeySource {
            issuer: issuer.to_owned(),
            jwks_uri: principal.jwks_uri.clone(),
        })
}

/// The one principal whose token it is.
fn the_one<'s>(
    snapshot: &'s Snapshot,
    request: &Request,
    claims: &'s Claims,
) -> Result<&'s Principal, Refused> {
    let is_meant = |principal: &Principal| {
        let by_name = |name: &String| *name == principal.name;
        request.principal.as_ref().is_none_or(by_name)
            && request
                .audiences
                .iter()
                .all(|named| by_name(named) || Some(named) == principal.audience.as_ref())
    };
    let mut fitting = Vec::new();
    let mut reasons = Vec::new();
    for principal in of_issuer(snapshot, claims.issuer()) {
        match fits(principal, claims) {
            Ok(()) if is_meant(principal) => fitting.push(principal),
            Ok(()) => reasons.push(format!("the request does not mean {}", principal.name)),
            Err(reason) => reasons.push(reason),
        }
    }
    match fitting.as_slice() {
        [one] => Ok(one),
        [] => {
            let more = reasons.len().saturating_sub(REASONS);
            reasons.truncate(REASONS);
            if more > 0 {
                reasons.push(format!(
                    "and {more} more principals of the issuer do not fit"
                ));
            }
            Err(Refused::token(reasons.join("; ")))
        }
        // Which they are is nobody's business.
        _ => Err(Refused::request(
            "The subject_token fits more than one principal; name the one meant with the parameter principal.",
        )),
    }
}
