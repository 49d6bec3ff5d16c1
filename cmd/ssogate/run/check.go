package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// checkStep is one line of `ssogate demo --check`.
type checkStep struct {
	what string
	do   func(context.Context) error
}

// check is the demo's story as a client without a browser lives it.
type check struct {
	d        *Demo
	ana, ben ssotest.Person
	anaB     *demo.Visitor // her browser
	benB     *demo.Visitor
	ws       *websocket.Conn
	events   io.ReadCloser
}

// Check walks the story over real sockets and prints each step with its time.
// It returns the first failure.
func (d *Demo) Check(ctx context.Context, out io.Writer) error {
	c := &check{d: d, ana: d.people[0], ben: d.people[1], anaB: demo.NewVisitor(), benB: demo.NewVisitor()}
	defer c.close()
	for _, s := range c.story() {
		begin := time.Now()
		sctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := s.do(sctx)
		cancel()
		took := time.Since(begin).Round(time.Millisecond)
		if err != nil {
			_, _ = fmt.Fprintf(out, "FAIL  %-62s %8s  %v\n", s.what, took, err)
			return fmt.Errorf("demo: check: %s: %w", s.what, err)
		}
		_, _ = fmt.Fprintf(out, "ok    %-62s %8s\n", s.what, took)
	}
	return nil
}

func (c *check) story() []checkStep {
	return []checkStep{
		{"a stranger does not reach the application", c.stranger},
		{"ana signs in by SAML and reaches the application", func(ctx context.Context) error { return c.signIn(ctx, c.anaB, "SAML", c.ana) }},
		{"ben signs in by OpenID Connect and reaches the application", func(ctx context.Context) error { return c.signIn(ctx, c.benB, "OpenID", c.ben) }},
		{"ana opens a WebSocket and an event stream", c.openStreams},
		{"her identity provider deactivates her over SCIM", func(ctx context.Context) error { return c.setActive(ctx, false) }},
		{"her WebSocket was closed with code 1008", c.socketClosed},
		{"her event stream ended", c.streamEnded},
		{"her session is refused", func(ctx context.Context) error { return c.refused(ctx) }},
		{"signing in again is refused, on a page that says why", c.signInRefused},
		{"ben was not disturbed", func(ctx context.Context) error { return c.reaches(ctx, c.benB) }},
		{"she is re-activated over SCIM", func(ctx context.Context) error { return c.setActive(ctx, true) }},
		{"her old session stays dead", c.refused},
		{"she signs in again", func(ctx context.Context) error { return c.signIn(ctx, c.anaB, "SAML", c.ana) }},
	}
}

func (c *check) close() {
	if c.ws != nil {
		_ = c.ws.CloseNow()
	}
	if c.events != nil {
		_ = c.events.Close()
	}
}

// api is a request to the application as a script sends it.
func (c *check) api(ctx context.Context, b *demo.Visitor, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.d.Facts.App+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	client := &http.Client{Jar: b.Jar(), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return client.Do(req)
}

func (c *check) status(ctx context.Context, b *demo.Visitor, want int) error {
	resp, err := c.api(ctx, b, "/")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	if resp.StatusCode != want {
		return fmt.Errorf("status %d, want %d", resp.StatusCode, want)
	}
	return nil
}

func (c *check) stranger(ctx context.Context) error {
	return c.status(ctx, demo.NewVisitor(), http.StatusUnauthorized)
}

func (c *check) reaches(ctx context.Context, b *demo.Visitor) error {
	return c.status(ctx, b, http.StatusOK)
}

func (c *check) refused(ctx context.Context) error {
	return c.status(ctx, c.anaB, http.StatusUnauthorized)
}

func (c *check) signIn(ctx context.Context, b *demo.Visitor, provider string, p ssotest.Person) error {
	page, err := b.SignIn(ctx, c.d.Facts.App+"/", provider, p)
	if err != nil {
		return err
	}
	if page.Status != http.StatusOK {
		return fmt.Errorf("application answered %d", page.Status)
	}
	return c.reaches(ctx, b)
}

// signInRefused walks the real pages and must end on the refusal, in few steps.
func (c *check) signInRefused(ctx context.Context) error {
	_, err := c.anaB.SignIn(ctx, c.d.Facts.App+"/", "SAML", c.ana)
	var refused *demo.RefusedError
	if !errors.As(err, &refused) {
		return fmt.Errorf("no refusal: %w", err)
	}
	if refused.Page.Status != http.StatusForbidden || !strings.Contains(refused.Page.Title, "deactivated") {
		return refused
	}
	return nil
}

func (c *check) openStreams(ctx context.Context) error {
	u, err := url.Parse(c.d.Facts.App)
	if err != nil {
		return err
	}
	var cookies []string
	for _, k := range c.anaB.Jar().Cookies(u) {
		cookies = append(cookies, k.Name+"="+k.Value)
	}
	c.ws, _, err = websocket.Dial( //nolint:bodyclose // Dial closes it or hands it to the connection
		ctx, "ws://"+u.Host+"/ws", &websocket.DialOptions{
			HTTPHeader: http.Header{"Cookie": {strings.Join(cookies, "; ")}, "Origin": {c.d.Facts.App}},
		})
	if err != nil {
		return err
	}
	if _, _, err := c.ws.Read(ctx); err != nil {
		return fmt.Errorf("no tick on the WebSocket: %w", err)
	}
	// The stream must outlive this step.
	resp, err := c.api(context.WithoutCancel(ctx), c.anaB, "/events") //nolint:bodyclose // kept open; close ends it
	if err != nil {
		return err
	}
	c.events = resp.Body
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("event stream: status %d", resp.StatusCode)
	}
	if _, err := c.events.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("no event: %w", err)
	}
	return nil
}

func (c *check) socketClosed(ctx context.Context) error {
	for {
		if _, _, err := c.ws.Read(ctx); err != nil {
			if code := websocket.CloseStatus(err); code != websocket.StatusPolicyViolation {
				return fmt.Errorf("close code %d: %w", code, err)
			}
			return nil
		}
	}
}

func (c *check) streamEnded(context.Context) error {
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, c.events)
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(5 * time.Second):
		return errors.New("it is still open")
	}
}

// setActive is the PATCH that an identity provider sends.
func (c *check) setActive(ctx context.Context, active bool) error {
	var list struct {
		Resources []struct {
			ID string `json:"id"`
		} `json:"Resources"`
	}
	if err := c.scim(ctx, http.MethodGet, "/Users?filter="+url.QueryEscape(`userName eq "`+c.ana.User+`"`), nil, &list); err != nil {
		return err
	}
	if len(list.Resources) != 1 {
		return fmt.Errorf("%d users named %s", len(list.Resources), c.ana.User)
	}
	return c.scim(ctx, http.MethodPatch, "/Users/"+list.Resources[0].ID, map[string]any{
		"schemas":    []string{"urn:ietf:params:scim:api:messages:2.0:PatchOp"},
		"Operations": []map[string]any{{"op": "replace", "value": map[string]any{"active": active}}},
	}, nil)
}

func (c *check) scim(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.d.Facts.SCIMBase+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.d.Facts.Token)
	req.Header.Set("Content-Type", "application/scim+json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: status %d: %s", method, path, resp.StatusCode, answer)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}
