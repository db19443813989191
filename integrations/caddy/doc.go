// Package caddy connects Backout to Caddy by its admin API.
//
// It registers the system type "caddy" and the inverse, change source, collector and
// recorder "route.caddy": a part of the running configuration, such as a route with
// the weights of its upstreams, back to a captured state.
//
// A state is the JSON of that part, known by its digest. A target is named by its
// "@id", or by its path in the configuration. Every write carries the ETag of the
// part that it replaces: Caddy compares and replaces under one lock, so that a
// change by somebody else is never overwritten.
//
// Caddy keeps no history, and a configuration that is loaded as a whole replaces
// whatever could be kept inside of it. So states are captured into a folder that the
// settings name, which all processes of Backout have to share: by the recorder, by
// Apply for the state that it leaves, and by people, as files that the settings give
// a name. What nobody captured can not be gone back to.
//
// Configurations may hold secrets. Their content stands in the folder, which only the
// owner may read, and nowhere else: not in a state, an error, a preflight or
// evidence; not even Caddy's own words on a configuration that it refuses are passed
// on. Only weights are shown.
//
// It changes the running configuration and no Caddyfile: a reload from a file brings
// back what the file says.
//
// Only integrations/install and programs that choose their vendors import it.
package caddy
