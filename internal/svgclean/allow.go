package svgclean

import "strings"

// An element is what may be kept of one.
type element struct {
	text bool // characters in it are shown, or are its sense
	leaf bool // nothing but characters
	link link // what its href may be

	animates bool // needs an attributeName
}

// A link is a kind of reference.
type link int

const (
	noLink       link = iota
	fragment          // an element of the same document, which is drawn or taken from
	target            // one that is animated
	raster            // a picture in a data: URL
	rasterOrPart      // either
)

// elements are those of SVG 2 that draw, in its namespace. Not there: script, foreignObject, audio, video, iframe and canvas, which run
// or hold HTML; metadata; fonts, which browsers no longer read; view, which only scripts and links need.
var elements = func() map[string]element {
	all := make(map[string]element)
	for n := range strings.FieldsSeq(`
		svg g defs symbol marker clipPath mask switch a
		path rect circle ellipse line polyline polygon
		stop filter feBlend feColorMatrix feComponentTransfer feComposite feConvolveMatrix feDiffuseLighting feDisplacementMap feDistantLight
		feDropShadow feFlood feFuncA feFuncB feFuncG feFuncR feGaussianBlur feMerge feMergeNode feMorphology feOffset fePointLight
		feSpecularLighting feSpotLight feTile feTurbulence`) {
		all[n] = element{}
	}
	for n := range strings.FieldsSeq("linearGradient radialGradient pattern use mpath") {
		all[n] = element{link: fragment}
	}
	for n := range strings.FieldsSeq("animate animateTransform set") {
		all[n] = element{link: target, animates: true}
	}
	all["animateMotion"] = element{link: target}
	all["image"] = element{link: raster}
	all["feImage"] = element{link: rasterOrPart}
	all["text"], all["tspan"] = element{text: true}, element{text: true}
	all["textPath"] = element{text: true, link: fragment}
	all["title"], all["desc"], all["style"] = element{text: true, leaf: true}, element{text: true, leaf: true}, element{text: true, leaf: true}
	return all
}()

// A kind says how the value of an attribute is checked, and whether animations may set it.
type kind int

const (
	plain     kind = iota + 1 // text, numbers, words: nothing that a browser would load or run, whatever it says
	geometry                  // as plain, and may be animated
	value                     // is read as CSS, which has url(), and may be animated
	timed                     // is read as what it is set to, and so as CSS
	styles                    // declarations of CSS
	animation                 // names what is animated: geometry or a value
)

// attributes are those without a namespace, of any element. Not there: handlers of events, which run; href, which is of [element.link]; tabindex,
// target, download and their kin, which are for what is clicked; and data-*, which is for scripts.
var attributes = func() map[string]kind {
	all := make(map[string]kind)
	for n := range strings.FieldsSeq(`
		id class lang role version baseProfile media type systemLanguage requiredExtensions requiredFeatures zoomAndPan
		attributeType begin dur end min max restart repeatCount repeatDur calcMode keyTimes keySplines keyPoints additive accumulate
		rotate origin path`) {
		all[n] = plain
	}
	for n := range strings.FieldsSeq(`
		x y x1 y1 x2 y2 cx cy r rx ry fx fy fr dx dy width height d points pathLength transform viewBox preserveAspectRatio
		gradientUnits gradientTransform spreadMethod offset patternUnits patternContentUnits patternTransform
		clipPathUnits maskUnits maskContentUnits mask-type markerUnits markerWidth markerHeight refX refY orient
		lengthAdjust textLength startOffset method spacing side
		filterUnits primitiveUnits filterRes in in2 result mode operator k1 k2 k3 k4 order kernelMatrix divisor bias targetX targetY edgeMode
		kernelUnitLength preserveAlpha surfaceScale diffuseConstant specularConstant specularExponent limitingConeAngle pointsAtX pointsAtY pointsAtZ z
		azimuth elevation xChannelSelector yChannelSelector scale stdDeviation radius baseFrequency numOctaves seed stitchTiles
		tableValues slope intercept amplitude exponent`) {
		all[n] = geometry
	}
	for n := range strings.FieldsSeq(presentation) {
		all[n] = value
	}
	for n := range strings.FieldsSeq("from to by values") {
		all[n] = timed
	}
	all["style"], all["attributeName"] = styles, animation
	return all
}()

// presentation are the properties of CSS that are attributes, too. Not there: cursor, which is a picture.
const presentation = `
	alignment-baseline baseline-shift clip clip-path clip-rule color color-interpolation color-interpolation-filters color-rendering
	direction display dominant-baseline fill fill-opacity fill-rule filter flood-color flood-opacity
	font font-family font-feature-settings font-kerning font-size font-size-adjust font-stretch font-style font-variant font-variant-caps
	font-variant-ligatures font-variant-numeric font-variation-settings font-weight glyph-orientation-horizontal glyph-orientation-vertical
	image-rendering isolation kerning letter-spacing lighting-color marker marker-end marker-mid marker-start mask mix-blend-mode opacity overflow paint-order
	pointer-events shape-rendering solid-color solid-opacity stop-color stop-opacity
	stroke stroke-dasharray stroke-dashoffset stroke-linecap stroke-linejoin stroke-miterlimit stroke-opacity stroke-width
	text-anchor text-decoration text-overflow text-rendering text-transform transform-box transform-origin unicode-bidi vector-effect visibility
	white-space word-spacing writing-mode`

// properties are those of style attributes and elements. Those that lead out of the document could only do so by url(), which
// is a fragment or refused. Not there: cursor, content, src, behavior, -moz-binding.
var properties = func() map[string]bool {
	all := make(map[string]bool)
	for n := range strings.FieldsSeq(presentation + `
		x y cx cy r rx ry d width height min-width min-height max-width max-height transform translate rotate scale mask-type
		animation animation-delay animation-direction animation-duration animation-fill-mode animation-iteration-count animation-name
		animation-play-state animation-timing-function animation-composition
		transition transition-delay transition-duration transition-property transition-timing-function
		-webkit-animation -webkit-animation-delay -webkit-animation-direction -webkit-animation-duration -webkit-animation-fill-mode
		-webkit-animation-iteration-count -webkit-animation-name -webkit-animation-timing-function -webkit-transform -webkit-transform-origin
		offset offset-path offset-distance offset-rotate offset-anchor offset-position
		background background-color color-scheme backface-visibility perspective perspective-origin transform-style will-change
		font-synthesis font-optical-sizing font-palette font-variant-east-asian font-variant-position line-height tab-size text-align text-indent text-shadow
		text-orientation text-decoration-color text-decoration-line text-decoration-style text-decoration-thickness text-underline-offset
		inline-size shape-margin shape-padding shape-image-threshold mask-border`) {
		all[n] = true
	}
	return all
}()

// functions are those of CSS values. Not there: url, which is looked at by itself; image, image-set, src, element and attr, which load or read.
var functions = func() map[string]bool {
	all := make(map[string]bool)
	for n := range strings.FieldsSeq(`
		rgb rgba hsl hsla hwb lab lch oklab oklch color color-mix light-dark var calc min max clamp
		matrix matrix3d translate translatex translatey translatez translate3d scale scalex scaley scalez scale3d rotate rotatex rotatey rotatez rotate3d
		skew skewx skewy perspective path polygon circle ellipse inset rect xywh
		blur brightness contrast drop-shadow grayscale hue-rotate invert opacity saturate sepia
		cubic-bezier steps linear linear-gradient radial-gradient conic-gradient repeating-linear-gradient repeating-radial-gradient`) {
		all[n] = true
	}
	return all
}()

// pseudos are the functions of selectors.
var pseudos = map[string]bool{
	"not": true, "is": true, "where": true, "has": true, "lang": true, "nth-child": true, "nth-last-child": true, "nth-of-type": true, "nth-last-of-type": true,
}
