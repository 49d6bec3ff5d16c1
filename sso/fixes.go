package sso

import (
	"strings"

	"github.com/ssogate/ssogate/settings"
)

// CheckOf is the name of the check that a reason of a [VerifyError] belongs to.
func CheckOf(reason string) string {
	for _, m := range []struct{ check, reasons string }{
		{"status", "status access_denied idp_error invalid_request unauthorized_client unsupported_response_type invalid_scope interaction_required " +
			"login_required account_selection_required consent_required request_not_supported registration_not_supported"},
		{"signature", "signature signature_missing signature_empty signature_place trust key_unknown references transforms id_token id_token_missing at_hash"},
		{"algorithm", "algorithm sha1 alg"},
		{"certificate", "certificate_expired"},
		{"metadata", "metadata_expired"},
		{"encryption", "encryption encryption_unsigned decrypt encrypted_id"},
		{"destination", "destination"},
		{"issuer", "issuer"},
		{"audience", "audience azp condition"},
		{"recipient", "recipient"},
		{"confirmation", "confirmation"},
		{"in_response_to", "in_response_to unsolicited nonce state expired login_expired login_unknown relay_state provider provider_changed lane"},
		{"replay", "replay code"},
		{"times", "time time_ahead time_past auth_time session_over"},
		{"name_id", "subject subject_missing name_id_transient"},
		{"attributes", "attributes claims email_unverified userinfo_subject userinfo_email"},
		{"groups", "groups"},
		{"organization", "organization organization_blocked saml_sso_required hosted_domain suspended"},
		{"token", "scope token_refused token_too_large token_type"},
		{"authn_context", "authn_context authn_instant"},
	} {
		for r := range strings.FieldsSeq(m.reasons) {
			if r == reason {
				return m.check
			}
		}
	}
	return "answer"
}

// fixes say what to do where a check did not pass: in general, and where to click
// at the products whose pages are known.
var fixes = map[string]struct {
	text                string
	okta, entra, others string // others: OneLogin and Auth0
}{
	"endpoint": {text: "Check the address, and that this host may reach it: DNS, firewall, and outbound.allow for a private address."},
	"metadata": {
		text: "Give the metadata address or file of this application, not of another one, and one that is current.",
		okta: "Okta: Applications > your app > Sign On > SAML Signing Certificates > Actions > View IdP metadata.", entra: "Entra: Enterprise applications > your app > Single sign-on > SAML Certificates > App Federation Metadata Url.",
		others: "Copy the metadata URL from the application's SSO page again.",
	},
	"discovery": {text: "issuer must be exactly what the provider calls itself; {issuer}/.well-known/openid-configuration must answer with that name."},
	"certificate": {
		text: "Make a new signing certificate at the identity provider, give its metadata to ssogate, then make it the active one.",
		okta: "Okta: Sign On > SAML Signing Certificates > Generate new certificate.", entra: "Entra: Single sign-on > SAML Certificates > Edit > New Certificate.",
		others: "OneLogin: Security > Certificates. Auth0: Settings > Signing Keys.",
	},
	"clock": {text: "Let both hosts keep time by NTP; ssogate allows 60 seconds."},
	"times": {text: "The answer was too old or from the future: compare both clocks (check \"clock\"), and sign in without a long pause."},
	"status": {
		text:  "The identity provider itself refused: assign the person to the application there, and read its own log for the moment of the test.",
		entra: "Entra: Enterprise applications > your app > Users and groups > Add user.", okta: "Okta: Applications > your app > Assignments.",
	},
	"signature": {
		text: "Sign the assertion or the response with the certificate whose public half ssogate was given; after a change of it, give ssogate the new metadata.",
		okta: "Okta: SAML Settings > Show Advanced Settings > Assertion Signature: Signed.", entra: "Entra: SAML Certificates > Edit > Signing Option: Sign SAML response and assertion.",
		others: "OneLogin: Configuration > SAML signature element: Both. Auth0: Addons > SAML2 > signResponse.",
	},
	"algorithm": {
		text: "Sign with RSA-SHA256 or better. insecure_allow_sha1 is only for the time until an old identity provider has been replaced.",
		okta: "Okta: SAML Settings > Signature Algorithm: RSA-SHA256.", entra: "Entra: SAML Certificates > Edit > Signing Algorithm: SHA-256.",
		others: "OneLogin: SSO > SAML Signature Algorithm: SHA-256. Auth0: signatureAlgorithm: rsa-sha256.",
	},
	"encryption": {
		text: "Encrypt with AES-GCM and RSA-OAEP to the certificate in ssogate's SP metadata, or switch assertion encryption off.",
		okta: "Okta: SAML Settings > Encryption Algorithm: AES256-GCM, Key Transport: RSA-OAEP, and ssogate's certificate.", entra: "Entra: Token encryption > Import Certificate (ssogate's).",
	},
	"destination": {
		text: "Set the ACS URL at the identity provider to exactly the one ssogate shows, with scheme, host and path.",
		okta: "Okta: SAML Settings > Single sign-on URL.", entra: "Entra: Basic SAML Configuration > Reply URL.", others: "OneLogin: ACS (Consumer) URL. Auth0: Application Callback URL.",
	},
	"recipient": {
		text: "Set the recipient to exactly ssogate's ACS URL.",
		okta: "Okta: SAML Settings > Use this for Recipient URL and Destination URL.", entra: "Entra: Basic SAML Configuration > Reply URL.", others: "OneLogin: Recipient. Auth0: \"recipient\".",
	},
	"audience": {
		text: "Set the audience at the identity provider to exactly ssogate's Entity ID (SAML) or client id (OpenID Connect); a slash at the end counts.",
		okta: "Okta: SAML Settings > Audience URI (SP Entity ID).", entra: "Entra: Basic SAML Configuration > Identifier (Entity ID).", others: "OneLogin: Audience (EntityID). Auth0: \"audience\".",
	},
	"issuer": {
		text: "The answer names another issuer than the configured one: give ssogate the metadata of the very application that answered.",
		okta: "Okta: each application has an issuer of its own (http://www.okta.com/exk...).", entra: "Entra: https://sts.windows.net/{tenant id}/ with the slash.",
	},
	"confirmation":   {text: "The assertion needs a bearer SubjectConfirmation with Recipient, InResponseTo and NotOnOrAfter: use the identity provider's Web Browser SSO profile."},
	"in_response_to": {text: "Start from the link of the test, in one browser, and finish within its time; the answer must be to this very request."},
	"replay":         {text: "The same answer came twice. Start a new test; if it comes back, something on the way sends the form twice."},
	"name_id": {
		text: "Send a NameID that never changes for a person: persistent, or the user name; not transient.",
		okta: "Okta: SAML Settings > Name ID format: Persistent, or Application username: Okta username.", entra: "Entra: Attributes & Claims > Unique User Identifier: user.objectid.",
		others: "OneLogin: Parameters > NameID. Auth0: nameIdentifierFormat.",
	},
	"attributes": {
		text: "Correct the attribute named above at the identity provider, or name another one under attributes: in the provider's configuration.",
		okta: "Okta: SAML Settings > Attribute Statements.", entra: "Entra: Single sign-on > Attributes & Claims.", others: "OneLogin: Parameters. Auth0: Addons > SAML2 > mappings.",
	},
	"groups": {
		text: "Let the identity provider send the groups as text, and name the attribute under attributes.groups.",
		okta: "Okta: SAML Settings > Group Attribute Statements.", entra: "Entra: Attributes & Claims > Add a group claim > Groups assigned to the application.", others: "OneLogin: Parameters > Groups.",
	},
	"organization":  {text: "The account must be an active member of a configured organisation or team (GitHub), or belong to a hosted domain (Google). At GitHub an owner of the organisation must also approve the OAuth App (Settings > Third-party access)."},
	"authn_context": {text: "Let the identity provider use one of the contexts of authn_context for this application, or take the key out of the configuration."},
	"token":         {text: "Compare client id and client secret with the provider's, and the redirect URI registered there with ssogate's."},
	"browser":       {text: "Open the link and finish in one browser, with cookies allowed for ssogate's own address."},
	"member":        {text: "Decide how people join: join: idp makes a member at the first sign-in; otherwise provision or invite the person first."},
	"session":       {text: "The identity provider ends its session at once (SessionNotOnOrAfter): make its session longer, or correct its clock."},
	"answer":        {text: "Nothing usable came back. Read the identity provider's own page and log for the moment of the test, and start a new one."},
	"report":        {text: "Start a new test with fewer attributes."},
}

// fixFor is what to do about a check. An attribute's check has its own name after a
// colon.
func fixFor(check string, preset settings.Preset) string {
	name, _, attribute := strings.Cut(check, ":")
	if attribute {
		name = "attributes"
	}
	f := fixes[name]
	at := ""
	switch preset {
	case settings.Okta:
		at = f.okta
	case settings.Entra:
		at = f.entra
	case settings.OneLogin, settings.Auth0:
		at = f.others
	case settings.Google, settings.GitHubApp:
	}
	return strings.TrimSpace(f.text + " " + at)
}
