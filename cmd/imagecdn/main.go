// Command imagecdn serves resized images from directories and web servers, and purges them.
//
//	imagecdn                                    sample photographs on http://127.0.0.1:8080
//	imagecdn serve -source photos=./photos      images of a directory, at /photos/…
//	imagecdn purge -key KEY /photos/cat.jpg     make a server forget an image
//	imagecdn transform cat.jpg 'w=500&fm=webp' cat.webp
//	imagecdn transform -r -params 'w=500&fm=webp' photos small
//	imagecdn cache verify DIR                   check the files of a cache directory
//
// Each command prints its flags with -h.
package main

import "github.com/imagecdn/imagecdn/internal/command"

func main() { command.Main() }
