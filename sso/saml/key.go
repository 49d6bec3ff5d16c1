package saml

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// keyLifetime is long because IdPs pin the certificate: replacing it is a
// manual step at every one of them, and its dates protect nothing.
const keyLifetime = 10 * 365 * 24 * time.Hour

// NewKey makes the SP key that is kept from first use on: RSA-2048 (PKCS #8)
// and a self-signed certificate for ten years, both PEM. The key is a secret:
// seal it before storing.
func NewKey() (key, cert []byte, err error) {
	private, err := rsa.GenerateKey(rand.Reader, minRSABits)
	if err != nil {
		return nil, nil, fmt.Errorf("saml: new key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, fmt.Errorf("saml: new key: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "ssogate SAML service provider"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(keyLifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, fmt.Errorf("saml: new key: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("saml: new key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// ParseKey reads what NewKey made, or an operator's own RSA key (PKCS #8 or
// PKCS #1) and certificate. Whether they fit together is checked by New.
func ParseKey(key, cert []byte) (crypto.Signer, *x509.Certificate, error) {
	block, _ := pem.Decode(key)
	if block == nil {
		return nil, nil, errors.New("saml: key is not PEM")
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if private, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			return nil, nil, errors.New("saml: key is neither PKCS #8 nor PKCS #1") // the cause could quote it
		}
	}
	signer, ok := private.(*rsa.PrivateKey)
	if !ok {
		return nil, nil, errors.New("saml: key is not RSA")
	}
	if block, _ = pem.Decode(cert); block == nil || block.Type != "CERTIFICATE" {
		return nil, nil, errors.New("saml: certificate is not PEM")
	}
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("saml: certificate: %w", err)
	}
	return signer, parsed, nil
}
