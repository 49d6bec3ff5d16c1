package saml

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" //nolint:gosec // RSA-OAEP with SHA-1 is still sound: it needs no collision resistance
	_ "crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/beevik/etree"
)

// Encryption algorithms that are accepted (step 5). rsa-1_5 is missing because
// of Bleichenbacher's oracle (row S23), 3DES because of its block size.
const (
	encAES128GCM = "http://www.w3.org/2009/xmlenc11#aes128-gcm"
	encAES256GCM = "http://www.w3.org/2009/xmlenc11#aes256-gcm"
	encAES128CBC = "http://www.w3.org/2001/04/xmlenc#aes128-cbc"
	encAES256CBC = "http://www.w3.org/2001/04/xmlenc#aes256-cbc"

	encOAEP   = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"
	encOAEP11 = "http://www.w3.org/2009/xmlenc11#rsa-oaep"

	mgfSHA1   = "http://www.w3.org/2009/xmlenc11#mgf1sha1"
	mgfSHA256 = "http://www.w3.org/2009/xmlenc11#mgf1sha256"

	encTypeElement = "http://www.w3.org/2001/04/xmlenc#Element"
)

// errCipher is the only thing said about ciphertext that does not open: what
// exactly was wrong with it is what an oracle is made of.
var errCipher = errors.New("saml: does not decrypt")

// decrypter opens an EncryptedAssertion.
type decrypter struct {
	keys []KeyPair // any of them, for an IdP takes up a new certificate when it likes
	// signed says that a verified Response signature covers the ciphertext.
	// Only then is CBC, which anybody can alter, opened at all.
	signed bool
}

// assertion is step 5: it returns the plaintext as a tree of its own, after the
// plaintext has passed the same scan and census as the message around it. That
// something was encrypted to us proves nothing about who did it (row S24).
func (d decrypter) assertion(el *etree.Element) (*etree.Element, error) {
	parts, err := children(el,
		slot{nsXMLEnc, "EncryptedData", 1, 1, false},
		slot{nsXMLEnc, "EncryptedKey", 0, 4, false})
	if err != nil {
		return nil, err
	}
	data, err := children(parts.one(0),
		slot{nsXMLEnc, "EncryptionMethod", 1, 1, false},
		slot{nsDSig, "KeyInfo", 0, 1, false},
		slot{nsXMLEnc, "CipherData", 1, 1, false},
		slot{nsXMLEnc, "EncryptionProperties", 0, 1, false})
	if err != nil {
		return nil, err
	}
	if t := attr(parts.one(0), "Type"); t != "" && t != encTypeElement {
		return nil, refuse("encryption", "encrypted data of type %s", quote(t))
	}
	method := attr(data.one(0), "Algorithm")
	size, err := d.keySize(method)
	if err != nil {
		return nil, err
	}
	keys := parts[1]
	if info := data.one(1); info != nil {
		for _, c := range info.ChildElements() {
			if is(c, nsXMLEnc, "EncryptedKey") {
				keys = append(keys, c)
			}
		}
	}
	// More than one key is for several readers, and an assertion has one.
	if len(keys) != 1 {
		return nil, refuse("encryption", "%d encrypted keys", len(keys))
	}
	key, err := d.contentKey(keys[0], size)
	if err != nil {
		return nil, err
	}
	ciphertext, err := cipherValue(data.one(2))
	if err != nil {
		return nil, err
	}
	plain, err := openContent(method, key, ciphertext)
	if err != nil {
		return nil, refuse("decrypt", "%w", err)
	}
	return plaintext(plain)
}

func plaintext(plain []byte) (*etree.Element, error) {
	if err := scan(plain, responseLimits); err != nil {
		return nil, err
	}
	root, err := parse(plain)
	if err != nil {
		return nil, err
	}
	if !is(root, nsAssertion, "Assertion") {
		return nil, refuse("shape", "encrypted element is %s, not an Assertion", quote(root.FullTag()))
	}
	return root, census(root)
}

// keySize refuses unknown ciphers before any key is touched.
func (d decrypter) keySize(method string) (int, error) {
	switch method {
	case encAES128GCM:
		return 16, nil
	case encAES256GCM:
		return 32, nil
	case encAES128CBC, encAES256CBC:
		if !d.signed {
			return 0, refuse("encryption_unsigned", "CBC outside a signed Response")
		}
		if method == encAES128CBC {
			return 16, nil
		}
		return 32, nil
	}
	return 0, refuse("encryption", "algorithm %s", quote(method))
}

// contentKey opens the EncryptedKey.
func (d decrypter) contentKey(el *etree.Element, size int) ([]byte, error) {
	parts, err := children(el,
		slot{nsXMLEnc, "EncryptionMethod", 1, 1, false},
		slot{nsDSig, "KeyInfo", 0, 1, false},
		slot{nsXMLEnc, "CipherData", 1, 1, false},
		slot{nsXMLEnc, "EncryptionProperties", 0, 1, false},
		slot{nsXMLEnc, "ReferenceList", 0, 1, false},
		slot{nsXMLEnc, "CarriedKeyName", 0, 1, false})
	if err != nil {
		return nil, err
	}
	options, err := oaep(parts.one(0))
	if err != nil {
		return nil, err
	}
	wrapped, err := cipherValue(parts.one(2))
	if err != nil {
		return nil, err
	}
	for _, k := range d.keys {
		rsaKey, ok := k.Key.(crypto.Decrypter)
		if !ok {
			return nil, refuse("encryption", "the key of this provider cannot decrypt")
		}
		if key, err := rsaKey.Decrypt(rand.Reader, wrapped, options); err == nil && len(key) == size {
			return key, nil
		}
	}
	return nil, refuse("decrypt", "%w", errCipher)
}

// oaep reads the key transport parameters. In rsa-oaep-mgf1p the mask function
// is MGF1 with SHA-1 whatever the digest is (XML encryption 1.1, section 5.5.2).
func oaep(method *etree.Element) (*rsa.OAEPOptions, error) {
	algorithm := attr(method, "Algorithm")
	if algorithm != encOAEP && algorithm != encOAEP11 {
		return nil, refuse("encryption", "key transport %s", quote(algorithm))
	}
	options := &rsa.OAEPOptions{Hash: crypto.SHA1, MGFHash: crypto.SHA1}
	for _, c := range method.ChildElements() {
		value := attr(c, "Algorithm")
		switch {
		case is(c, nsXMLEnc, "KeySize"):
		case is(c, nsDSig, "DigestMethod") && value == digestSHA1:
		case is(c, nsDSig, "DigestMethod") && value == digestSHA256:
			options.Hash = crypto.SHA256
		case is(c, nsXMLEnc11, "MGF") && value == mgfSHA1:
		case is(c, nsXMLEnc11, "MGF") && value == mgfSHA256 && algorithm == encOAEP11:
			options.MGFHash = crypto.SHA256
		default:
			return nil, refuse("encryption", "key transport parameter %s %s", quote(c.Tag), quote(value))
		}
	}
	return options, nil
}

func cipherValue(data *etree.Element) ([]byte, error) {
	parts, err := children(data, slot{nsXMLEnc, "CipherValue", 1, 1, false})
	if err != nil {
		return nil, err
	}
	value, err := text(parts.one(0))
	if err != nil {
		return nil, err
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.Join(strings.Fields(value), ""))
	if err != nil {
		return nil, refuse("decrypt", "%w", errCipher)
	}
	return raw, nil
}

// openContent decrypts; every length is checked before a slice is taken
// (row S22: short ciphertexts have crashed other implementations).
func openContent(method string, key, ciphertext []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, errCipher
	}
	if method == encAES128CBC || method == encAES256CBC {
		return openCBC(block, ciphertext)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil || len(ciphertext) < gcm.NonceSize()+gcm.Overhead() {
		return nil, errCipher
	}
	plain, err := gcm.Open(nil, ciphertext[:gcm.NonceSize()], ciphertext[gcm.NonceSize():], nil)
	if err != nil {
		return nil, errCipher
	}
	return plain, nil
}

func openCBC(block cipher.Block, ciphertext []byte) ([]byte, error) {
	size := block.BlockSize()
	if len(ciphertext) < 2*size || len(ciphertext)%size != 0 {
		return nil, errCipher
	}
	plain := make([]byte, len(ciphertext)-size)
	cipher.NewCBCDecrypter(block, ciphertext[:size]).CryptBlocks(plain, ciphertext[size:])
	// ISO 10126 padding (XML encryption section 5.2): only the last byte counts.
	pad := int(plain[len(plain)-1])
	if pad < 1 || pad > size {
		return nil, errCipher
	}
	return plain[:len(plain)-pad], nil
}
