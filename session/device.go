package session

import "strings"

// word is a mark in a User-Agent and what people call what has it.
type word struct{ mark, name string }

// Browsers pretend to be one another, so the order counts: everybody says
// Mozilla, most say Safari, many say Chrome.
var (
	browsers = []word{
		{"Edg/", "Edge"},
		{"EdgA/", "Edge"},
		{"EdgiOS/", "Edge"},
		{"OPR/", "Opera"},
		{"Vivaldi/", "Vivaldi"},
		{"SamsungBrowser/", "Samsung Internet"},
		{"FxiOS/", "Firefox"},
		{"Firefox/", "Firefox"},
		{"CriOS/", "Chrome"},
		{"HeadlessChrome/", "Chrome"},
		{"Chromium/", "Chromium"},
		{"Chrome/", "Chrome"},
		{"Safari/", "Safari"},
	}
	systems = []word{
		{"iPhone", "iPhone"},
		{"iPad", "iPad"},
		{"Android", "Android"},
		{"Windows", "Windows"},
		{"CrOS", "ChromeOS"},
		{"Macintosh", "macOS"},
		{"Mac OS X", "macOS"},
		{"Linux", "Linux"},
	}
)

// maxProgram bounds the name of a program that is no browser we know.
const maxProgram = 24

// Device says in a few words what a User-Agent claims to be: "Firefox on
// Windows", "curl", "unknown device". Its words are ours or plain ASCII, so it
// may stand on any page and terminal (row C11). It is a claim of the client and
// helps people to know their own devices; nothing is decided by it.
func Device(userAgent string) string {
	browser, system := called(browsers, userAgent), called(systems, userAgent)
	if browser == "" {
		browser = program(userAgent)
	}
	switch {
	case browser == "" && system == "":
		return "unknown device"
	case browser == "":
		return system
	case system == "":
		return browser
	}
	return browser + " on " + system
}

func called(list []word, userAgent string) string {
	for _, w := range list {
		if strings.Contains(userAgent, w.mark) {
			return w.name
		}
	}
	return ""
}

// program is the first product of a User-Agent that is no browser's: "curl" of
// "curl/8.5.0". Mozilla says nothing.
func program(userAgent string) string {
	name, _, _ := strings.Cut(userAgent, "/")
	odd := strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
	if odd || len(name) > maxProgram || name == "Mozilla" {
		return ""
	}
	return name
}
