//! People, let in by their login of Cloudflare Access.

use super::call::Call;
use crate::audit::login_credential;
use crate::gateway::{Caller, Code, Gateway, REQUEST_HEADER, Refusal, Snapshot, World, sanitised};
use crate::identity::{
    Claims, ClaimsError, Credential, CredentialError, Jws, KeySource, Unproven, person, prove,
};
use crate::settings::AccessApp;
use crate::store::Database;

/// How long a login may last: Access lets sessions last a month.
const MAX_LIFETIME_SECS: i64 = 31 * 86_400;

/// What a caller shows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Presented<'c> {
    /// What claims to be a key.
    Key(Credential<'c>),
    /// The token of an Access login, and the application it must be for.
    Login(&'c AccessApp, &'c str),
}

fn not_accepted() -> Refusal {
    Refusal::new(
        Code::InvalidCredential,
        "The Cloudflare Access login is not accepted: it is not signed by the team's keys, expired, meant for another application, or of nobody the configuration names.",
    )
}

impl<D: Database, W: World> Gateway<'_, D, W> {
    /// What the caller shows. A key goes before an Access login, as Access adds its header to every
    /// request; a login counts only where Access is set up.
    pub(super) fn presented<'c>(&'c self, call: &Call<'c>) -> Result<Presented<'c>, Refusal> {
        let missing = match call.inbound.credentials.credential() {
            Ok(key) => return Ok(Presented::Key(key)),
            Err(error) => error,
        };
        let login = match (missing, &self.settings.access) {
            (CredentialError::Missing, Some(app)) => {
                let token = call.inbound.access.token();
                token.map(|token| token.map(|token| Presented::Login(app, token)))
            }
            _ => Ok(None),
        };
        let refused = |error: CredentialError| {
            Refusal::new(
                Code::from(error),
                format!("The call is not let in: {error}."),
            )
        };
        login.map_err(refused)?.ok_or_else(|| refused(missing))
    }

    /// Finds out whose login a token is.
    ///
    /// 1. A change needs the word of the browser that a page of ours asked for it, or our header:
    ///    browsers send cookies along for everybody. 403.
    /// 2. The token is signed by a key of the team, for this application, and counts now. 401.
    /// 3. A principal of the configuration names the person. 401.
    ///
    /// Gives the caller, and the login in words.
    pub(super) async fn person(
        &self,
        call: &Call<'_>,
        app: &AccessApp,
        token: &str,
        snapshot: &Snapshot,
    ) -> Result<(Caller, String), Refusal> {
        let is_read = matches!(call.inbound.method, "GET" | "HEAD");
        if !is_read && !call.inbound.access.is_same_origin() {
            let message = format!(
                "A change by a Cloudflare Access login must come from a page of Zonekeeper's own, or carry the header {REQUEST_HEADER}."
            );
            return Err(Refusal::new(Code::Denied, message)); // (1)
        }
        let claims = self.login_claims(app, token).await.map_err(|unproven| {
            self.world.log(&format!("an Access login: {unproven}"));
            match unproven {
                Unproven::Unavailable(_) => Refusal::new(
                    Code::StoreUnavailable,
                    "The keys of Cloudflare Access cannot be had now, so nobody can be let in by a login.",
                ),
                _ => not_accepted(),
            }
        })?; // (2)
        let principals = &snapshot.config.document.principals;
        let found = person(principals, &claims).and_then(|principal| {
            let id = snapshot.policy.principal(&principal.name)?;
            Some((principal, id))
        });
        let (principal, id) = found.ok_or_else(not_accepted)?; // (3)
        let email = sanitised(claims.text("email").unwrap_or_default(), 254);
        let caller = Caller {
            principal: id,
            name: principal.name.as_str().into(),
            key: None,
        };
        Ok((caller, login_credential(&email)))
    }

    async fn login_claims(&self, app: &AccessApp, token: &str) -> Result<Claims, Unproven> {
        let form = |error| Unproven::Claims(ClaimsError::Form(error));
        let jws = Jws::parse(token).map_err(form)?;
        let claims = Claims::parse(&jws.payload)?;
        // Whoever has another token of the team, or one for another application, is not let in.
        let is_ours = claims.issuer() == app.issuer
            && claims.is_only_for(&app.audience)
            && (!claims.has("type") || claims.text("type") == Some("app"));
        if !is_ours {
            return Err(Unproven::Signature);
        }
        let source = KeySource {
            issuer: app.issuer.clone(),
            jwks_uri: Some(format!("{}/cdn-cgi/access/certs", app.issuer)),
        };
        let ring = self.view.issuer_keys();
        let now = self.world.now();
        prove(
            self.world,
            ring,
            &source,
            &jws,
            claims,
            MAX_LIFETIME_SECS,
            now,
        )
        .await
    }
}
