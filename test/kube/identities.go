package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// identities are the certificates by which the API server and the kubelet know each
// other. They are made anew at each start.
type identities struct {
	authority *x509.CertPool
	kubelet   tls.Certificate
	// The files that the API server reads.
	authorityFile, clientFile, clientKeyFile string
}

func newIdentities(dir string) (*identities, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of certificates: %w", err)
	}
	ids := &identities{
		authority:     x509.NewCertPool(),
		authorityFile: filepath.Join(dir, "ca.crt"), clientFile: filepath.Join(dir, "client.crt"), clientKeyFile: filepath.Join(dir, "client.key"),
	}
	now := time.Now()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubelet-ca"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	rootPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER})
	ids.authority.AppendCertsFromPEM(rootPEM)
	// issue makes a certificate for either side and its key, in PEM.
	issue := func(serial int64, subject pkix.Name, usage x509.ExtKeyUsage) (certificate, key []byte, err error) {
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: subject, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
		}
		if usage == x509.ExtKeyUsageServerAuth {
			leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		}
		leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, nil, fmt.Errorf("make key: %w", err)
		}
		der, err := x509.CreateCertificate(rand.Reader, leaf, root, leafKey.Public(), rootKey)
		if err != nil {
			return nil, nil, fmt.Errorf("make certificate: %w", err)
		}
		keyDER, err := x509.MarshalECPrivateKey(leafKey)
		if err != nil {
			return nil, nil, fmt.Errorf("encode key: %w", err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), nil
	}
	certificate, key, err := issue(2, pkix.Name{CommonName: "system:node:" + nodeName, Organization: []string{"system:nodes"}}, x509.ExtKeyUsageServerAuth)
	if err != nil {
		return nil, err
	}
	if ids.kubelet, err = tls.X509KeyPair(certificate, key); err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	certificate, key, err = issue(3, pkix.Name{CommonName: "kube-apiserver-kubelet-client"}, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return nil, err
	}
	for _, file := range []struct {
		name string
		text []byte
	}{{ids.authorityFile, rootPEM}, {ids.clientFile, certificate}, {ids.clientKeyFile, key}} {
		if err := os.WriteFile(file.name, file.text, 0o600); err != nil {
			return nil, fmt.Errorf("write certificate: %w", err)
		}
	}
	return ids, nil
}

// server is the kubelet's side. Who has no certificate gets nothing.
func (i *identities) server() *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{i.kubelet}, ClientCAs: i.authority, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}
}
