package spec

// What a service gets when its source does not say, and how much one source may ask for.
const (
	DefaultMemory   = 512 << 20 // bytes
	DefaultMilliCPU = 1000
	DefaultPids     = 512
	DefaultReplicas = 1

	// StaticPort is where Pandu's own file server listens in a static site's image.
	StaticPort     = 8080
	StaticMemory   = 64 << 20 // bytes
	StaticMilliCPU = 250
	StaticPids     = 64

	MaxServices = 50
	MaxReplicas = 100
	MaxVolumes  = 50
)

// DefaultResources are the limits of a service that names none.
func DefaultResources() Resources {
	return Resources{Memory: DefaultMemory, MilliCPU: DefaultMilliCPU, Pids: DefaultPids}
}

// StaticResources are the limits of a static site.
func StaticResources() Resources {
	return Resources{Memory: StaticMemory, MilliCPU: StaticMilliCPU, Pids: StaticPids}
}
