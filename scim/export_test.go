package scim

import "encoding/json"

// Redacted is a body as the flight recorder keeps it.
func Redacted(body, presented string) string {
	var v any
	if json.Unmarshal([]byte(body), &v) != nil {
		return ""
	}
	return redactor{presented: presented}.body(v, len(body))
}

// SetStreamPage changes how many members of a group are read at a time, and answers
// how many it was.
func SetStreamPage(n int) (before int) {
	before, streamPage = streamPage, n
	return before
}
