module guests

go 1.26

require thalweg v1.0.0

replace thalweg => ../../guest-sdk/go
