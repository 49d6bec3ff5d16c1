package local

import (
	"errors"
	"net/http"

	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
)

// setup shows what a one-time link leads to. It has no effect: whatever follows links
// on its own account, a mail scanner or a chat program's preview, uses nothing up.
func (p *Pages) setup(w http.ResponseWriter, r *http.Request) {
	l, m, ok := p.bearer(w, r)
	if ok {
		p.setupForm(w, r, l, m, http.StatusOK, newTOTP(), setupFaults{})
	}
}

// bearer finds whom the link of a request is for, or has refused it.
func (p *Pages) bearer(w http.ResponseWriter, r *http.Request) (Link, member.Member, bool) {
	l, m, err := p.Service.Bearer(r.Context(), r.PathValue("token"))
	switch {
	case errors.Is(err, ErrLink):
		p.linkOver(w, r)
		return l, m, false
	case err != nil:
		p.failed(w, r, err)
		return l, m, false
	}
	return l, m, true
}

// linkOver is one answer for every link that cannot be used, so that nobody can find
// out by trying which ones exist.
func (p *Pages) linkOver(w http.ResponseWriter, r *http.Request) {
	web.Annotate(r.Context(), "reason", "link_over")
	p.page(w, r, web.Page{Status: http.StatusGone, Title: textLinkOver, Lead: textLinkOverLead, Actions: []web.Action{{Label: textUsual, URL: "/login", Quiet: true}}})
}

// setupFaults are what is wrong with what was sent.
type setupFaults struct{ password, again, code string }

func (p *Pages) setupForm(w http.ResponseWriter, r *http.Request, l Link, m member.Member, status int, key string, f setupFaults) {
	page := web.Page{Status: status, Title: textNewPassword, Lead: textNewPasswordLead, Account: m.UserName}
	page.Form = &web.Form{URL: r.URL.EscapedPath(), Button: textSetPassword, Inputs: newPassword(f)}
	if l.Purpose == Setup {
		page.Title, page.Lead = textSetup, textSetupLead
		page.Facts = []web.Fact{{Label: textKey, Value: spaced(key)}}
		page.Form.Fields = []web.Field{{Name: "key", Value: key}}
		page.Form.Inputs = append(page.Form.Inputs, web.Input{
			Label: textAppCode, Name: "code", Type: "text", Hint: "one-time-code", Help: textAppCodeHelp, Fault: f.code, Max: maxCode, Optional: true,
		})
	}
	p.page(w, r, page)
}

// newPassword are the fields of a password that is chosen: twice, as without script
// nobody can look at what he typed.
func newPassword(f setupFaults) []web.Input {
	return []web.Input{
		{Label: textChoose, Name: "password", Type: "password", Hint: "new-password", Help: textChooseHelp, Fault: f.password, Max: MaxPassword},
		{Label: textAgain, Name: "again", Type: "password", Hint: "new-password", Fault: f.again, Max: MaxPassword},
	}
}

// set does what the form of a link asks for.
func (p *Pages) set(w http.ResponseWriter, r *http.Request) {
	if !p.form(w, r) {
		return
	}
	l, m, ok := p.bearer(w, r)
	if !ok {
		return
	}
	c := Choice{Password: r.PostForm.Get("password"), TOTP: r.PostForm.Get("key"), Code: r.PostForm.Get("code")}
	if b, err := base32Text.DecodeString(c.TOTP); err != nil || len(b) != totpBytes {
		c.TOTP = newTOTP() // not one of ours: the person gets another one to enter
	}
	var codes []string
	f, err := chosen(c.Password, r.PostForm.Get("again"), m)
	if err == nil {
		codes, err = p.Service.Set(r.Context(), r.PathValue("token"), c, client(r))
	}
	switch {
	case errors.Is(err, ErrCode):
		f.code = textAppCodeWrong
	case errors.Is(err, ErrLink):
		p.linkOver(w, r)
		return
	case err != nil && f == (setupFaults{}):
		p.failed(w, r, err)
		return
	}
	if f != (setupFaults{}) {
		p.setupForm(w, r, l, m, http.StatusUnprocessableEntity, c.TOTP, f)
		return
	}
	if l.Purpose != Setup {
		p.page(w, r, web.Page{Status: http.StatusOK, Title: textSet, Lead: textSetLead, Account: m.UserName, Actions: []web.Action{{Label: textSignIn, URL: "/login"}}})
		return
	}
	list := web.List{Title: textCodes}
	for _, c := range codes {
		list.Items = append(list.Items, web.Item{Title: c})
	}
	p.page(w, r, web.Page{
		Status: http.StatusOK, Title: textReady, Lead: textReadyLead, Account: m.UserName, Lists: []web.List{list},
		Actions: []web.Action{{Label: textSignIn, URL: FallbackPath}},
	})
}

// errFaults means a form that has to be filled in again.
var errFaults = errors.New("local: the form has faults")

// chosen checks a password that was typed twice.
func chosen(password, again string, m member.Member) (f setupFaults, err error) {
	var weak *WeakError
	if errors.As(CheckPassword(password, m), &weak) {
		f.password = textWeak(weak)
	}
	if f.password == "" && password != again {
		f.again = textDiffer
	}
	if f != (setupFaults{}) {
		err = errFaults
	}
	return f, err
}

// spaced is a key in groups of four, as people type it.
func spaced(key string) string {
	var out []byte
	for i := range len(key) {
		if i > 0 && i%4 == 0 {
			out = append(out, ' ')
		}
		out = append(out, key[i])
	}
	return string(out)
}
