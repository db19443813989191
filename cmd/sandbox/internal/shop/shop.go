package shop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// The names of the services and of their releases. Each service has two good
// releases; checkout's newest one is the one that breaks.
const (
	Storefront = "storefront"
	Checkout   = "checkout"
	Payments   = "payments"

	// GoodRelease is what every service starts with.
	GoodRelease = "v41"
	// BadRelease fails a third of checkout's orders.
	BadRelease = "v42"
)

// Names are the services in the order in which they call each other.
func Names() []string { return []string{Storefront, Checkout, Payments} }

// Shop is the running services and their customers.
type Shop struct {
	services map[string]*Service
	client   *http.Client
	stop     context.CancelFunc
	done     sync.WaitGroup
	orders   atomic.Int64
}

// Open starts the services. Storefront and payments run their good release,
// as they have for weeks; checkout answers 503 until it is told its version by
// Service.Release.
func Open(ctx context.Context) (*Shop, error) {
	s := &Shop{services: map[string]*Service{}, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}}
	payments, err := start(ctx, Payments, map[string]behaviour{GoodRelease: charge, "v40": charge})
	if err != nil {
		return nil, err
	}
	s.services[Payments] = payments
	payments.Release(GoodRelease)
	checkout, err := start(ctx, Checkout, map[string]behaviour{
		"v40":       s.checkout(payments.URL, price),
		GoodRelease: s.checkout(payments.URL, price),
		BadRelease:  s.checkout(payments.URL, priceWithDiscounts),
	})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.services[Checkout] = checkout
	storefront, err := start(ctx, Storefront, map[string]behaviour{
		GoodRelease: s.forward(checkout.URL), "v40": s.forward(checkout.URL),
	})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.services[Storefront] = storefront
	storefront.Release(GoodRelease)
	return s, nil
}

// Service returns a service by name.
func (s *Shop) Service(name string) *Service { return s.services[name] }

// Load lets customers buy at a steady rate of orders a second until the shop
// is closed. Orders that the storefront is too slow for are not queued.
func (s *Shop) Load(ctx context.Context, perSecond int) {
	ctx, s.stop = context.WithCancel(ctx)
	gate := make(chan struct{}, 64)
	s.done.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			select {
			case gate <- struct{}{}:
				s.done.Go(func() {
					defer func() { <-gate }()
					_, _ = s.Buy(ctx)
				})
			default:
			}
		}
	})
}

// Buy places one order like a customer.
func (s *Shop) Buy(ctx context.Context) (Receipt, error) {
	o := Order{ID: s.orders.Add(1), Items: 1 + rand.IntN(6), Cents: 199 + rand.IntN(5000)} //nolint:gosec // Not a secret.
	return call(ctx, s.client, s.services[Storefront].URL, o)
}

// Close ends customers and services.
func (s *Shop) Close() error {
	if s.stop != nil {
		s.stop()
		s.done.Wait()
	}
	var errs []error
	for _, name := range Names() {
		if svc := s.services[name]; svc != nil {
			errs = append(errs, svc.Close())
		}
	}
	return errors.Join(errs...)
}

// charge is payments: it takes the money.
func charge(ctx context.Context, o Order) (Receipt, error) {
	if err := work(ctx, 3*time.Millisecond); err != nil {
		return Receipt{}, err
	}
	return Receipt{OrderID: o.ID, Cents: o.Cents}, nil
}

// checkout prices an order and has it paid.
func (s *Shop) checkout(paymentsURL string, price func(Order) (int, error)) behaviour {
	return func(ctx context.Context, o Order) (Receipt, error) {
		if err := work(ctx, 4*time.Millisecond); err != nil {
			return Receipt{}, err
		}
		total, err := price(o)
		if err != nil {
			return Receipt{}, err
		}
		return call(ctx, s.client, paymentsURL, Order{ID: o.ID, Items: 1, Cents: total})
	}
}

// forward is the storefront: it hands the cart over.
func (s *Shop) forward(checkoutURL string) behaviour {
	return func(ctx context.Context, o Order) (Receipt, error) {
		if err := work(ctx, 2*time.Millisecond); err != nil {
			return Receipt{}, err
		}
		return call(ctx, s.client, checkoutURL, o)
	}
}

// price is what checkout did up to v41.
func price(o Order) (int, error) { return o.Items * o.Cents, nil }

// discounts are the percentages that v42 brought, for 1, 2, 3 and 4 items.
var discounts = []int{0, 0, 5, 10}

// priceWithDiscounts is what v42 does: it looks the discount up by the number
// of items, and nobody thought of five.
func priceWithDiscounts(o Order) (total int, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("price order %d with %d items: %v", o.ID, o.Items, p)
		}
	}()
	return o.Items * o.Cents * (100 - discounts[o.Items-1]) / 100, nil
}

func newReader(b []byte) io.Reader { return bytes.NewReader(b) }
