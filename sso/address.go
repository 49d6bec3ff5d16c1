package sso

import "strings"

// PlainAddress accepts the addresses that every reader reads alike (row O15):
// ASCII, one @, a dot-atom local part without the routing characters % and !,
// a domain of letter-digit-hyphen labels without a dot at its end. Quoted local
// parts, comments and full-width @ have all been used to make two parsers see
// two domains.
func PlainAddress(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || len(s) > 254 || len(local) > 64 {
		return false
	}
	return labels(local, "#$&'*+-/=?^_`{|}~", false) && labels(domain, "-", true)
}

func labels(s, extra string, host bool) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 64 || (host && (label[0] == '-' || label[len(label)-1] == '-')) {
			return false
		}
		for _, c := range []byte(label) {
			if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (extra == "" || strings.IndexByte(extra, c) < 0) {
				return false
			}
		}
	}
	return true
}

// domainOf is the domain of an address, in lower case, "" when it is not a plain one.
func domainOf(address string) string {
	if !PlainAddress(address) {
		return ""
	}
	_, domain, _ := strings.Cut(address, "@")
	return strings.ToLower(domain)
}
