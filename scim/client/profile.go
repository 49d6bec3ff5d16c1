package client

import "slices"

// Profile says whether the rules of this package apply.
type Profile string

// Profiles.
const (
	// Auto is what every connection starts with.
	Auto Profile = "auto"
	// Strict passes everything to validation as it came.
	Strict Profile = "strict"
)

// Notes collect the rules that were needed to read one request, for the access
// record and metrics: an operator sees what his IdP gets away with. The zero
// value is ready; not safe for concurrent use.
type Notes struct{ rules []string }

func (n *Notes) add(rule string) {
	if !slices.Contains(n.rules, rule) {
		n.rules = append(n.rules, rule)
	}
}

// Rules lists the rules used, sorted.
func (n *Notes) Rules() []string { return slices.Sorted(slices.Values(n.rules)) }

// Merge adds the rules of another request: of an operation in a bulk request.
func (n *Notes) Merge(other *Notes) {
	for _, r := range other.rules {
		n.add(r)
	}
}
