package session

// FallbackProvider is the provider of the sessions of fallback owners, who signed in
// without one, and PasswordProvider that of members with a password. No identity
// provider may have such an id.
const (
	FallbackProvider = "fallback"
	PasswordProvider = "password"
)

// Fallback is the gateway origin once more, for the short sessions of fallback
// owners. A door of its own: their cookie has another name and opens neither an app
// nor what hands a session to one.
const Fallback Door = "fallback"

// gateway is the door of this Manager's sessions on the gateway origin.
func (m *Manager) gateway() Door {
	if m.fallback {
		return Fallback
	}
	return Gateway
}

// ours reports whether sessions of a provider are this Manager's at all: one for
// fallback owners admits nobody else, and no other one admits them, whatever cookie,
// store or settings say.
func (m *Manager) ours(provider string) bool {
	return m.fallback == (provider == FallbackProvider) && m.provider(provider)
}
