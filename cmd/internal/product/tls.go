package product

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// load reads the files of a TLS connection; nil when TLS is off.
func (c TLSConfig) load() (*tls.Config, error) {
	if !c.Enabled && c.CertFile == "" && c.CAFile == "" {
		return nil, nil //nolint:nilnil // No TLS is a choice, not an error.
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return nil, errors.New("read temporal.tls: cert_file and key_file belong together")
	}
	if c.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read temporal.tls: %w", err)
		}
		out.Certificates = []tls.Certificate{cert}
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read temporal.tls: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read temporal.tls: %q holds no certificate", c.CAFile)
		}
	}
	return out, nil
}
