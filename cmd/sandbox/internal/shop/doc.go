// Package shop is the small real world of the sandbox: a storefront that calls
// a checkout that calls payments, each a real HTTP server with a version and
// metrics, customers who buy, and a monitor that pages when they can not.
//
// Which version a service runs is decided outside of it, as in life: by a
// release pointer in a key-value bucket, or by a Deployment on a cluster.
// Change the pointer and the service changes; nothing here is acted out.
package shop
