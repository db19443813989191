// Package attest signs what people asked for, and checks the signatures, with
// Ed25519. The bot that verified a person signs the request; the activities that
// judge an answer, and those that change production, check it. Whoever can merely
// write to Temporal, start workflows or run activities can not speak for a person.
//
// A signature covers the incident and every field of the request, among them the
// plan's digest, the person as they were verified, a second proof and the time. It
// says nothing about what the person may do.
//
// It is pure: keys are arguments. It imports workflows/incident alone. The bot, the
// activities, cmd and tests may import it.
package attest
