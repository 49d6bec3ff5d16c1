package ssotest

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" //nolint:gosec // OAEP's default digest
	_ "crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/beevik/etree"
)

// Algorithms of XML encryption.
const (
	AES128GCM = "http://www.w3.org/2009/xmlenc11#aes128-gcm"
	AES256GCM = "http://www.w3.org/2009/xmlenc11#aes256-gcm"
	AES128CBC = "http://www.w3.org/2001/04/xmlenc#aes128-cbc"
	AES256CBC = "http://www.w3.org/2001/04/xmlenc#aes256-cbc"
	TripleDES = "http://www.w3.org/2001/04/xmlenc#tripledes-cbc"

	OAEP   = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"
	OAEP11 = "http://www.w3.org/2009/xmlenc11#rsa-oaep"
	RSA15  = "http://www.w3.org/2001/04/xmlenc#rsa-1_5"

	DigestSHA1   = "http://www.w3.org/2000/09/xmldsig#sha1"
	DigestSHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
	MGF1SHA256   = "http://www.w3.org/2009/xmlenc11#mgf1sha256"
)

// SAMLEncryption says how an assertion is encrypted. The zero value is
// AES-256-GCM with RSA-OAEP and SHA-1, what most IdPs do.
type SAMLEncryption struct {
	Cipher    string // of the content
	Transport string // of its key
	Digest    string // of OAEP; "" = SHA-1, not said
	MGF       string // of OAEP11; "" = MGF1 with SHA-1, not said
	Key       *x509.Certificate
	Sibling   bool // the EncryptedKey stands beside the EncryptedData, not in it

	Plaintext  func([]byte) []byte // before encryption
	Ciphertext func([]byte) []byte // after it
}

// encryptAssertion makes an EncryptedAssertion for the holder of cert.
func encryptAssertion(cert *x509.Certificate, el *etree.Element, e SAMLEncryption) (*etree.Element, error) {
	if e.Key != nil {
		cert = e.Key
	}
	if cert == nil {
		return nil, errors.New("ssotest: encrypt: the service provider has no certificate")
	}
	if e.Cipher == "" {
		e.Cipher = AES256GCM
	}
	if e.Transport == "" {
		e.Transport = OAEP
	}
	doc := etree.NewDocument()
	doc.SetRoot(el)
	plain, err := doc.WriteToBytes()
	if err != nil {
		return nil, fmt.Errorf("ssotest: encrypt: %w", err)
	}
	if e.Plaintext != nil {
		plain = e.Plaintext(plain)
	}
	key := make([]byte, 32)
	if strings.Contains(e.Cipher, "128") {
		key = key[:16]
	}
	_, _ = rand.Read(key)
	ciphertext, err := encryptContent(e.Cipher, key, plain)
	if err != nil {
		return nil, err
	}
	if e.Ciphertext != nil {
		ciphertext = e.Ciphertext(ciphertext)
	}
	wrapped, err := wrapKey(cert, key, e)
	if err != nil {
		return nil, err
	}
	return encryptedElement(e, wrapped, ciphertext), nil
}

func encryptContent(method string, key, plain []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("ssotest: encrypt: %w", err)
	}
	if method == AES128GCM || method == AES256GCM {
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("ssotest: encrypt: %w", err)
		}
		nonce := make([]byte, gcm.NonceSize())
		_, _ = rand.Read(nonce)
		return gcm.Seal(nonce, nonce, plain, nil), nil
	}
	// Everything else is CBC with ISO 10126 padding; for 3DES only the name is
	// wrong, which is all that a refusal may look at.
	pad := aes.BlockSize - len(plain)%aes.BlockSize
	plain = append(append([]byte(nil), plain...), make([]byte, pad)...)
	plain[len(plain)-1] = byte(pad)
	out := make([]byte, aes.BlockSize+len(plain))
	_, _ = rand.Read(out[:aes.BlockSize])
	cipher.NewCBCEncrypter(block, out[:aes.BlockSize]).CryptBlocks(out[aes.BlockSize:], plain)
	return out, nil
}

func wrapKey(cert *x509.Certificate, key []byte, e SAMLEncryption) ([]byte, error) {
	public, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("ssotest: encrypt: not an RSA certificate")
	}
	if e.Transport == RSA15 {
		return rsa.EncryptPKCS1v15(rand.Reader, public, key) //nolint:staticcheck // offered to see it refused
	}
	options := &rsa.OAEPOptions{Hash: crypto.SHA1, MGFHash: crypto.SHA1}
	if e.Digest == DigestSHA256 {
		options.Hash = crypto.SHA256
	}
	if e.MGF == MGF1SHA256 {
		options.MGFHash = crypto.SHA256
	}
	return rsa.EncryptOAEPWithOptions(rand.Reader, public, key, options)
}

func encryptedElement(e SAMLEncryption, wrapped, ciphertext []byte) *etree.Element {
	value := func(in *etree.Element, b []byte) {
		in.CreateElement("xenc:CipherData").CreateElement("xenc:CipherValue").SetText(base64.StdEncoding.EncodeToString(b))
	}
	root := etree.NewElement("saml:EncryptedAssertion")
	root.CreateAttr("xmlns:saml", "urn:oasis:names:tc:SAML:2.0:assertion")
	data := root.CreateElement("xenc:EncryptedData")
	data.CreateAttr("xmlns:xenc", "http://www.w3.org/2001/04/xmlenc#")
	data.CreateAttr("Type", "http://www.w3.org/2001/04/xmlenc#Element")
	data.CreateElement("xenc:EncryptionMethod").CreateAttr("Algorithm", e.Cipher)
	info := data.CreateElement("ds:KeyInfo")
	info.CreateAttr("xmlns:ds", "http://www.w3.org/2000/09/xmldsig#")
	key := etree.NewElement("xenc:EncryptedKey")
	key.CreateAttr("xmlns:xenc", "http://www.w3.org/2001/04/xmlenc#")
	key.CreateAttr("Id", samlID())
	method := key.CreateElement("xenc:EncryptionMethod")
	method.CreateAttr("Algorithm", e.Transport)
	if e.Digest != "" {
		d := method.CreateElement("ds:DigestMethod")
		d.CreateAttr("xmlns:ds", "http://www.w3.org/2000/09/xmldsig#")
		d.CreateAttr("Algorithm", e.Digest)
	}
	if e.MGF != "" {
		m := method.CreateElement("xenc11:MGF")
		m.CreateAttr("xmlns:xenc11", "http://www.w3.org/2009/xmlenc11#")
		m.CreateAttr("Algorithm", e.MGF)
	}
	value(key, wrapped)
	if e.Sibling {
		info.CreateElement("ds:RetrievalMethod").CreateAttr("URI", "#"+key.SelectAttrValue("Id", ""))
		root.AddChild(key)
	} else {
		info.AddChild(key)
	}
	value(data, ciphertext)
	return root
}
