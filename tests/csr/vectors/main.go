// Writes the requests that Istio's pilot-agent and Linkerd's proxy-identity make, with the same
// calls of Go's standard library as they make (reference/istio.md §0.5, §1.3; linkerd.md §1.2).
//
//	go run main.go    # in this directory; each run makes new keys
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"os"
)

const (
	spiffeID = "spiffe://cluster.local/ns/emojivoto/sa/web"
	linkerd  = "web.emojivoto.serviceaccount.identity.linkerd.cluster.local"
	// More than the 64 characters that X.520 allows in a common name.
	longAccount = "linkerd-identity.linkerd.serviceaccount.identity.linkerd.cluster.local"
)

func pilotAgent(file string, key crypto.Signer) {
	names, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(spiffeID)}})
	check(err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{Organization: []string{""}},
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: names},
		},
	}, key)
	check(err)
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	check(os.WriteFile(file, block, 0o644))
}

func proxyIdentity(file string, name string) {
	key := ec(elliptic.P256())
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: name},
		DNSNames: []string{name},
	}, key)
	check(err)
	check(os.WriteFile(file, der, 0o644))
}

func ec(curve elliptic.Curve) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	check(err)
	return key
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	check(err)
	pilotAgent("pilot-agent-rsa-2048.pem", key)
	pilotAgent("pilot-agent-p256.pem", ec(elliptic.P256()))
	pilotAgent("pilot-agent-p384.pem", ec(elliptic.P384()))
	proxyIdentity("linkerd-proxy-identity.der", linkerd)
	proxyIdentity("linkerd-proxy-identity-long.der", longAccount)
}
