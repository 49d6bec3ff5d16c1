package web

import "time"

// Page is a small page in plain words: sign-in, completion, refusal, error.
// Every string is untrusted text and is escaped.
type Page struct {
	Status    int           // HTTP status; 0 is 500, never 200
	Title     string        // what happened, in a few words
	Lead      string        // one or two sentences: what it means and what to do next
	Account   string        // the account concerned, if any
	Facts     []Fact        // label and value pairs
	Lists     []List        // below the facts
	Form      *Form         // to fill in, above the actions
	Actions   []Action      // buttons; the first is the primary one
	Refresh   string        // same-site URL to move on to at once (meta refresh and a button), or ""
	Retry     time.Duration // sets Retry-After when positive
	Fragment  bool          // load /static/fragment.js, which adds location.hash to the actions (gateway origin only)
	Post      *Post         // a form for another site that a small script submits at once (gateway origin only)
	Onward    bool          // its forms go to an application, whose answer may lead anywhere
	Support   string        // whom to ask: an e-mail address, URL or plain text
	Reference string        // set by WritePage from the request id when empty
}

// Post is a form whose fields go to another site: how SAML's HTTP-POST binding
// sends a message by the browser. Without script the person presses its button.
type Post struct {
	URL    string // absolute http or https URL
	Fields []Field
}

// Form is a form with visible fields, posted to our own origin. Buttons below it that
// are not Quiet are another way to do the same.
type Form struct {
	URL    string
	Inputs []Input
	Fields []Field
	Button string
}

// Input is one visible field of a [Form]. What was typed into a password is never
// shown again.
type Input struct {
	Label    string
	Name     string
	Type     string // "text", "password" or "email"
	Hint     string // value of the autocomplete attribute
	Help     string // below the label, or ""
	Fault    string // what is wrong with what was sent, and how to mend it, or ""
	Value    string
	Max      int // characters; 0 = 254
	Optional bool
}

// Fact is one line of detail.
type Fact struct{ Label, Value string }

// List is a section of things of one kind, each with at most one thing to do.
type List struct {
	Title string
	Items []Item
}

// Item is one of them.
type Item struct {
	Title  string
	Lines  []string
	Mark   string  // a word beside the title that tells it from the others, or ""
	Action *Action // POST forms only, shown as a small button; its Hidden says of what
	Hidden string  // what the button is about, for those who hear the page
}

// Action is a button: a link, or a form when Method is POST.
type Action struct {
	Label  string
	URL    string
	Method string // "" or "GET" = link; "POST" = form
	Fields []Field
	Quiet  bool // shown as a link rather than a button
}

// Field is a hidden form field.
type Field struct{ Name, Value string }
