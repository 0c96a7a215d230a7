// Command imagecdn is the command of the same name with all there is: as a node of a cluster, with a bucket as the slowest tier of its cache, and with
// buckets as sources.
//
//	imagecdn serve -cluster nats://10.0.0.5:4222 -bucket s3://my-cache?region=eu-central-1 -source shop=s3://my-photos?region=eu-central-1
//	imagecdn serve -cluster embed -peers 10.0.0.1,10.0.0.2,10.0.0.3 -cluster-listen 10.0.0.1:6222 -cluster-secret-file secret -source shop=https://img.example.com/
//
// "imagecdn serve -h" prints all flags. docs/deploy.md has both as services of systemd.
package main

import "github.com/imagecdn/imagecdn/internal/command"

func main() { command.Main(extension()) }
