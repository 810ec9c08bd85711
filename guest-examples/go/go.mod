module guests

go 1.26

require thalweg v0.10.0

replace thalweg => ../../guest-sdk/go
