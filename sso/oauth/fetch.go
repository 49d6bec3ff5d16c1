package oauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Limits of what is read from a provider. The HTTP client has its own, usually
// larger ones; these hold for any client.
const (
	maxDocument = 256 << 10 // discovery, JWKS, userinfo
	maxToken    = 32 << 10  // ID token or access token; group lists make them long
)

var errTooLarge = errors.New("answer is too large")

// fetch gets a document. Its errors never contain the body.
func fetch(ctx context.Context, c *http.Client, step, url, bearer string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, &UnavailableError{Step: step, Err: err}
	}
	req.Header.Set("Accept", "application/json")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, &UnavailableError{Step: step, Err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, &UnavailableError{Step: step, Status: resp.StatusCode}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return nil, &UnavailableError{Step: step, Err: fmt.Errorf("read: %w", err)}
	}
	if len(body) > maxDocument {
		return nil, &UnavailableError{Step: step, Err: errTooLarge}
	}
	return body, nil
}
