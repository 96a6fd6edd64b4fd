//! What a decision says.

pub use crate::config::document::Effect;

/// A principal of one compiled policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrincipalId(pub(super) u32);

/// A grant of one compiled policy: its position in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId(pub(super) u32);

/// May it, by which grant, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether the call passes.
    pub effect: Effect,
    /// The grant that decided; none when nothing matched.
    pub grant: Option<GrantId>,
    /// Why.
    pub reason: Reason,
}

/// Why a decision came out as it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A grant allows it.
    Granted,
    /// A zone or account may be seen by whoever is allowed anything on it; a list of them may be
    /// read by everybody and shows only those.
    Visible,
    /// A grant asks for approval.
    ApprovalRequired,
    /// A grant that might ask for approval has a condition the call cannot be judged by, so it
    /// asks.
    ApprovalUnjudged,
    /// A grant denies it.
    DeniedByGrant,
    /// A grant that might deny it has a condition the call cannot be judged by, so it denies.
    DenyUnjudged,
    /// Nothing matches.
    NotGranted,
    /// A grant would allow it but for a condition that the call cannot be judged by.
    Unjudged,
    /// The operation can widen the rights of its caller: only a grant that names it reaches it.
    Escalation,
    /// Only a grant that names the operation reaches it, and none does.
    NamedOnly,
    /// The catalogue does not know the operation and no grant names it.
    UnknownOperation,
    /// The call does not say which zone or account it is about.
    NoResource,
    /// The principal is not in this policy.
    UnknownPrincipal,
}

/// The proof that a policy allowed a call. Nothing outside this module can make one.
#[derive(Debug, Clone, Copy)]
pub struct Permit(());

impl Decision {
    pub(super) const fn denied(reason: Reason) -> Self {
        Self {
            effect: Effect::Deny,
            grant: None,
            reason,
        }
    }

    pub(super) const fn by(effect: Effect, grant: u32, reason: Reason) -> Self {
        Self {
            effect,
            grant: Some(GrantId(grant)),
            reason,
        }
    }

    /// Whether the call passes.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.effect == Effect::Allow
    }

    /// What sending the call takes; only a decision that allows gives it.
    #[must_use]
    pub fn permit(&self) -> Option<Permit> {
        self.is_allowed().then_some(Permit(()))
    }

    /// How bad it is for the caller: a denial by a grant, nothing matching, approval, allowed.
    pub(super) fn severity(&self) -> u8 {
        match (self.effect, self.grant) {
            (Effect::Deny, Some(_)) => 3,
            (Effect::Deny, None) => 2,
            (Effect::Approve, _) => 1,
            (Effect::Allow, _) => 0,
        }
    }
}
